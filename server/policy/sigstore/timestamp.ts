import { ASN1Obj, RFC3161Timestamp } from "@sigstore/core";

/** RFC 3161 §2.4.2: any number of fraction digits, of which DER leaves out trailing zeros. */
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)\.(\d{1,9})Z$/;
const GEN_TIME_AT = 4;

/**
 * A timestamp whose time may have any number of fraction digits. The library reads none or exactly
 * three, and would refuse one in ten of the stamps of an authority that counts milliseconds.
 */
class Timestamp extends RFC3161Timestamp {
  override get signingTime(): Date {
    return fractionalTime(this.tstInfo.root.subs[GEN_TIME_AT]) ?? super.signingTime;
  }
}

/** @throws Error on what is no DER; what it holds is only looked at when it is verified. */
export function parseTimestamp(der: Uint8Array): RFC3161Timestamp {
  return new Timestamp(ASN1Obj.parseBuffer(Buffer.from(der)));
}

/** Milliseconds are kept, what is finer is cut off; undefined for times that the library reads. */
function fractionalTime(genTime: ASN1Obj | undefined): Date | undefined {
  if (genTime?.tag.isGeneralizedTime() !== true) {
    return undefined;
  }
  const match = GENERALIZED_TIME.exec(genTime.value.toString("latin1"));
  if (match === null) {
    return undefined;
  }
  const [, year, month, day, hour, minute, second, fraction = ""] = match;
  const ms = fraction.slice(0, 3).padEnd(3, "0");
  return new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`);
}
