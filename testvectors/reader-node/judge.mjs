// What this reader makes of one input, in the words of the test vectors.
import { readReceipt, readRejection, readVerdict } from './answers.mjs';
import { readBlock, readDocument } from './block.mjs';
import { decodeUTF8, Malformed, parse } from './json.mjs';
import { Refused, verifyBlock } from './verify.mjs';

const levels = {
  malformed: 'malformed',
  badSignature: 'signature', badChainSignature: 'signature',
  unknownKey: 'indeterminate', keyCompromised: 'indeterminate', platformNotTrusted: 'indeterminate', revocationUnknown: 'indeterminate',
};
const codes = { malformed: 7001, signerMismatch: 7103, unknownKey: 7103, keyCompromised: 7103, badSignature: 8001, revocationUnknown: 7503 };

function read(kind, bytes, known) {
  switch (kind) {
    case 'document': {
      const text = decodeUTF8(bytes);
      const d = readDocument(parse(text), text);
      return { canonical: d.canonical, state: { documentHash: d.hash } };
    }
    case 'block': return { state: verifyBlock(readBlock(bytes), known.trust, known) };
    case 'receipt': return readReceipt(bytes, known), {};
    case 'rejection': return readRejection(bytes, known), {};
    case 'verdict': return readVerdict(bytes, known), {};
    default: throw new Error(`unknown kind ${kind}`);
  }
}

/**
 * judge gives expect, reason, law, code and place, or the state. known holds trust (of loadTrust),
 * at (RFC 3339), and the vector's sender, signer, receiver, envelopeHash, jws.
 */
export function judge(kind, bytes, known) {
  const now = known.at && BigInt(Date.parse(known.at)) * 1000000n;
  try {
    return { expect: 'accept', ...read(kind, bytes, { ...known, now }) };
  } catch (e) {
    const reason = e instanceof Malformed ? 'malformed' : e.reason;
    if (!(e instanceof Malformed || e instanceof Refused)) throw e;
    const { law, entry, transaction } = e;
    return { expect: levels[reason] ?? 'chain', reason, law, code: codes[reason] ?? 8002, entry, transaction, detail: e.message };
  }
}
