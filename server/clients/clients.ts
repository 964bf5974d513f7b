import { RegistryError } from "../errors.ts";
import type { ClientSettings } from "../settings.ts";
import type { Identified, Identity, Presented } from "./identity.ts";

export interface ClientsOptions {
  readonly settings: ClientSettings;
  /** The wall clock in milliseconds. */
  readonly now: () => number;
  /** A fault of what was configured (an unreadable file, a key set that cannot be fetched): worth a line. */
  readonly onFault: (error: unknown) => void;
}

/** Who may pull: who clients are, and which repositories they may read. */
export class Clients implements AsyncDisposable {
  readonly #settings: ClientSettings;

  /** @throws Error when a file that is configured cannot be read or parsed. */
  static create({ settings }: ClientsOptions): Promise<Clients> {
    return Promise.resolve(new Clients(settings));
  }

  private constructor(settings: ClientSettings) {
    this.#settings = settings;
  }

  /**
   * Who sends a request. A log-in that is wrong is never taken for none.
   *
   * @throws RegistryError `client-unknown` with challenges; `overloaded`.
   */
  identify(_presented: Presented): Promise<Identified> {
    const challenges = ['Basic realm="Sluice"'];
    return Promise.reject(new RegistryError("client-unknown", "not there yet", { challenges }));
  }

  /**
   * @param name - the canonical `upstream/repository`.
   * @throws RegistryError `client-denied`; `client-unknown` when a log-in could help.
   */
  requirePull(identity: Identity, name: string): void {
    if (this.#settings.rules !== undefined) {
      throw new RegistryError("client-denied", `${identity.name} may not pull ${name}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.resolve();
  }
}
