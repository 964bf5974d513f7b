import type { Socket, TcpNetConnectOpts } from "node:net";
import { connect } from "node:net";

export interface WideSocketOptions {
  /** How much one read may bring. */
  readonly readBytes: number;
}

/**
 * A TCP socket that reads more at a time than the 64 KiB of node's own, into buffers of its own
 * that it uses again: a transfer's cost is the number of reads, not of bytes.
 *
 * A chunk is only good until the next one has been read, so whoever reads the socket must be done
 * with it by then. undici is: on `readable` it takes all there is and has it parsed, and our
 * handlers called, before anything else can arrive.
 */
export function connectWide(options: TcpNetConnectOpts, { readBytes }: WideSocketOptions): Socket {
  const buffers = new ReadBuffers(readBytes);
  const socket: Socket = connect({
    ...options,
    onread: {
      buffer: () => buffers.next(),
      callback: (length, bytes) => buffers.hand(socket, bytes.subarray(0, length)),
    },
  });
  return socket;
}

/**
 * Shorter reads are copied, which costs little. It also keeps what undici holds on to, a part of a
 * header that is not yet complete, out of the buffers: a header is shorter than this, so one that
 * begins a longer read ends in it.
 */
const COPIED_BYTES_MAX = 65_536;

class ReadBuffers {
  readonly #size: number;
  #armed: Buffer | undefined;
  #lent: Buffer | undefined;
  #free: Buffer | undefined;

  constructor(size: number) {
    this.#size = size;
  }

  /** What the next read goes to. */
  next(): Buffer {
    this.#armed = this.#free ?? Buffer.allocUnsafeSlow(this.#size);
    this.#free = undefined;
    return this.#armed;
  }

  /** False when the socket has enough for now. */
  hand(socket: Socket, bytes: Uint8Array): boolean {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    if (chunk.length <= COPIED_BYTES_MAX) {
      this.#free = this.#armed;
      return socket.push(Buffer.from(chunk));
    }
    // With nothing left to read in the socket, the chunk before this one has been dealt with.
    if (socket.readableLength === 0) {
      this.#free = this.#lent;
    }
    this.#lent = this.#armed;
    return socket.push(chunk);
  }
}
