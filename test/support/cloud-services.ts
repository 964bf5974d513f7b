import { once } from "node:events";
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { portOf } from "./fake-upstream.ts";
import { Gate } from "./upstream-faults.ts";

/** What clouds have that hands out log-ins, or what log-ins are made of. */
export type CloudService =
  | "ecr"
  | "ecr-public"
  | "azure-identity"
  | "acr-exchange"
  | "google-metadata"
  | "google-token";

export interface CloudRequest {
  readonly service: CloudService | "unknown";
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface CloudAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** An object is sent as JSON. */
  readonly body?: string | object;
  /** Says nothing, until the end of the test. */
  readonly hang?: boolean;
}

const HOUR_SECONDS = 3600;

/** All of them on one free loopback port; closed when the test ends. */
export async function startCloudServices(t: Test): Promise<CloudServices> {
  const services = new CloudServices();
  await services.listen();
  t.teardown(() => services.close());
  return services;
}

/** Every log-in that is handed out has a number: `password-1`, `password-2`. */
export class CloudServices {
  readonly requests: CloudRequest[] = [];
  readonly #server: Server;
  readonly #answers = new Map<CloudService, CloudAnswer>();
  readonly #gate = new Gate();
  #onRequest: (() => void) | undefined;
  #count = 0;

  constructor() {
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  async close(): Promise<void> {
    this.#gate.open();
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  /** `127.0.0.1:40123`. */
  get host(): string {
    return `127.0.0.1:${portOf(this.#server)}`;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  /** From now on; undefined is a log-in again. */
  answer(service: CloudService, answer: CloudAnswer | undefined): void {
    if (answer === undefined) {
      this.#answers.delete(service);
    } else {
      this.#answers.set(service, answer);
    }
  }

  /** As at the start, on the same port. */
  reset(): void {
    this.requests.length = 0;
    this.#answers.clear();
    this.#count = 0;
  }

  seen(service: CloudService): readonly CloudRequest[] {
    return this.requests.filter((request) => request.service === service);
  }

  /** The next request, as soon as its body is in. */
  arrival(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRequest = resolve;
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk as Buffer);
    }
    const service = serviceOf(request);
    const path = request.url ?? "";
    const body = Buffer.concat(chunks).toString();
    this.requests.push({ service, path, headers: request.headers, body });
    this.#onRequest?.();
    if (service === "unknown") {
      response.writeHead(404).end();
      return;
    }
    const answer = this.#answers.get(service) ?? this.#logIn(service);
    if (answer.hang === true) {
      await this.#gate.opened;
    }
    const text = typeof answer.body === "object" ? JSON.stringify(answer.body) : answer.body;
    const flavor = service === "google-metadata" ? { "metadata-flavor": "Google" } : {};
    response.writeHead(answer.status ?? 200, {
      "content-type": "application/json",
      ...flavor,
      ...answer.headers,
    });
    response.end(text);
  }

  #logIn(service: CloudService): CloudAnswer {
    this.#count += 1;
    const password = `password-${this.#count}`;
    const nowSeconds = Math.floor(Date.now() / 1000);
    const data = {
      authorizationToken: Buffer.from(`AWS:${password}`).toString("base64"),
      expiresAt: nowSeconds + 12 * HOUR_SECONDS,
    };
    switch (service) {
      case "ecr":
        return { body: { authorizationData: [data] } };
      case "ecr-public":
        return { body: { authorizationData: data } };
      case "acr-exchange":
        return { body: { refresh_token: tokenEndingAt(nowSeconds + 3 * HOUR_SECONDS, password) } };
      case "azure-identity":
        return {
          body: {
            access_token: password,
            expires_on: String(nowSeconds + HOUR_SECONDS),
            resource: "https://containerregistry.azure.net",
            token_type: "Bearer",
          },
        };
      case "google-metadata":
      case "google-token":
        return { body: { access_token: password, expires_in: HOUR_SECONDS, token_type: "Bearer" } };
    }
  }
}

/** A JWT, as far as its end and its signature's text go. */
export function tokenEndingAt(seconds: number, signature: string): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "RS256" })}.${part({ exp: seconds })}.${signature}`;
}

function serviceOf({ url = "", headers }: IncomingMessage): CloudService | "unknown" {
  const target = String(headers["x-amz-target"]);
  const paths: readonly (readonly [string, CloudService])[] = [
    ["/oauth2/exchange", "acr-exchange"],
    ["/msi/", "azure-identity"],
    ["/metadata/identity/", "azure-identity"],
    ["/computeMetadata/", "google-metadata"],
    ["/token", "google-token"],
  ];
  if (target.startsWith("AmazonEC2ContainerRegistry_")) {
    return "ecr";
  }
  if (target.startsWith("SpencerFrontendService.")) {
    return "ecr-public";
  }
  return paths.find(([start]) => url.startsWith(start))?.[1] ?? "unknown";
}

/** What these libraries take from the environment, in place of whatever this machine has of it. */
export function setCloudEnvironment(t: Test, wanted: Readonly<Record<string, string>>): void {
  const isCloud = /^(?:AWS|AZURE|GOOGLE|GCE|CLOUDSDK|IDENTITY|MSI|METADATA)_/;
  const before = { ...process.env };
  for (const name of Object.keys(process.env).filter((one) => isCloud.test(one))) {
    delete process.env[name];
  }
  const nowhere = join(tmpdir(), "sluice-test-no-such-folder");
  const fixed = {
    AWS_CONFIG_FILE: join(nowhere, "config"),
    AWS_SHARED_CREDENTIALS_FILE: join(nowhere, "credentials"),
    AWS_EC2_METADATA_DISABLED: "true",
    CLOUDSDK_CONFIG: nowhere,
  };
  Object.assign(process.env, fixed, wanted);
  t.teardown(() => {
    for (const name of Object.keys(process.env).filter((one) => isCloud.test(one))) {
      delete process.env[name];
    }
    Object.assign(process.env, before);
  });
}
