/**
 * What is configured for clients is broken: says which file or url, what happened and what to do,
 * and holds nothing secret.
 */
export class ClientsError extends Error {
  override readonly name = "ClientsError";
}

/** A log-in that is wrong, as a sentence for whoever sent it. Never leaves this folder. */
export class LogInProblem extends Error {
  override readonly name = "LogInProblem";
}

/** A log-in that is wrong, and can only have been meant for us: it is nobody else's business. */
export class OwnLogInProblem extends LogInProblem {}
