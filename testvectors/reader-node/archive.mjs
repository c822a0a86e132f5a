// A folder of archives (docs/BUNDLE.md, section 6): what was deleted from it, put into it, renamed or changed since its
// roots were signed. All that is found is told, by its code.
import { when } from './answers.mjs';
import { Malformed, Obj, parse } from './json.mjs';
import { parseJWS, sha256 } from './jws.mjs';
import { hostText, parseHost } from './trust.mjs';
import { minutes5, ns, whoSigned } from './verify.mjs';

/** Found is something that is wrong. */
class Found extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

const cannotTell = ['platformNotTrusted', 'unknownKey', 'keyCompromised', 'noRoots', 'unsealed'];
const day = (time) => new Date(Number(time / 1000000n)).toISOString().slice(0, 10);

function must(ok, code) {
  if (!ok) throw new Found(code);
}

// collect notes what f finds wrong; what cannot be read is malformed.
function collect(codes, f) {
  try {
    return f();
  } catch (e) {
    if (!(e instanceof Found || e instanceof Malformed)) throw e;
    codes.add(e.code ?? 'malformed');
    return undefined;
  }
}

// open reads a file that has just these members.
function open(text, format, members) {
  const o = parse(text, 4);
  must(o instanceof Obj && [...o.members.keys()].every((m) => ['format', 'by', ...members].includes(m)), 'malformed');
  must(o.get('format') === format && typeof o.get('by') === 'string', 'malformed');
  must(hostText(parseHost(o.get('by'))) === o.get('by'), 'malformed');
  return o;
}

function strings(v) {
  must(Array.isArray(v) && v.every((s) => typeof s === 'string'), 'malformed');
  return v;
}

/**
 * judgeArchive: files is a Map of texts by path (a path that ends in / is an empty folder), now in ns, root the hash of a root that
 * the reader kept, if any. It gives {verdict, rules}.
 */
export function judgeArchive(files, trust, now, root) {
  const codes = new Set();
  const folders = new Map();
  let text;
  for (const [path, content] of files) {
    const [dir, ...rest] = path.split('/');
    if (path === 'roots.json') text = content;
    else if (rest.length === 0) codes.add('inserted');
    else folders.set(dir, new Map([...(folders.get(dir) ?? []), [rest.join('/'), content]]));
  }
  // Without roots nobody says that a file beside the archives does not belong there.
  if (text === undefined) codes.delete('inserted');
  const roots = text === undefined ? undefined : collect(codes, () => readRoots(text, trust, now, root));
  const found = new Set();
  for (const [name, inside] of folders) collect(codes, () => folder(name, inside, roots, found, now));
  if (roots && roots.list.some((r) => r.archives.some((sum) => !found.has(sum)))) codes.add('deleted');
  const rules = [...codes].sort();
  const verdict = rules.length === 0 ? 'VALID' : rules.every((c) => cannotTell.includes(c)) ? 'INDETERMINATE' : 'INVALID';
  return { verdict, rules: rules.map((c) => `archive/${c}`) };
}

function readRoots(text, trust, now, kept) {
  const o = open(text, 'eblnode-archive-roots/1', ['roots']);
  const p = trust.of(parseHost(o.get('by')));
  must(p, 'platformNotTrusted');
  must(hostText(p.domain) === o.get('by'), 'malformed');
  const list = [];
  let head;
  let seen = kept === undefined;
  for (const jwsText of strings(o.get('roots'))) {
    const r = readRoot(jwsText, p);
    must(r.previous === head && !(list.length && r.day <= list.at(-1).day) && day(r.at) > r.day, 'root');
    must(r.at <= now + minutes5, 'timeAhead');
    list.push(r);
    head = sha256(jwsText);
    seen ||= head === kept;
  }
  must(seen, 'cutOff');
  return { by: o.get('by'), list };
}

function readRoot(text, p) {
  let jws;
  let o;
  try {
    jws = parseJWS(text);
    o = parse(jws.payload, 4);
    must(jws.header.typ === 'eblnode-root+jws' && o instanceof Obj && jws.header.iat > 0, 'root');
    must(hostText(parseHost(o.get('platform'))) === hostText(p.domain), 'root');
    must(when(`${o.get('day')}T00:00:00Z`) && /^[1-9][0-9]{0,18}$/.test(o.get('rows')) && /^[0-9a-f]{64}$/.test(o.get('hash')), 'root');
  } catch (e) {
    if (e instanceof Malformed || e instanceof TypeError) throw new Found('root');
    throw e;
  }
  const at = ns(Math.floor(jws.header.iat) * 1000);
  const { reason } = whoSigned(jws, p, at);
  must(reason !== 'unknownKey', 'unknownKey');
  must(reason !== 'keyCompromised', 'keyCompromised');
  must(reason === undefined, 'root');
  return { at, day: o.get('day'), previous: o.get('previous'), archives: strings(o.get('archives') ?? []) };
}

// folder judges one archive: its files by its list, and the list by the roots.
function folder(name, inside, roots, found, now) {
  const text = inside.get('archive.json');
  must(text !== undefined, 'deleted');
  const list = readList(text);
  const sum = sha256(text);
  const twice = found.has(sum);
  found.add(sum);
  must(!twice, 'inserted');
  must(!roots || list.by === roots.by, 'malformed');
  must(list.folder === name, 'renamed');
  must(list.at <= now + minutes5, 'timeAhead');
  for (const [file, hash] of list.files) {
    must(inside.has(file), 'deleted');
    must(sha256(inside.get(file)) === hash, 'changed');
  }
  must([...inside.keys()].every((file) => file === 'archive.json' || list.files.has(file)), 'inserted');
  must(roots, 'noRoots');
  if (roots.list.some((r) => r.archives.includes(sum))) return;
  must(!(roots.list.length && roots.list.at(-1).day > day(list.at)), 'inserted');
  throw new Found('unsealed');
}

function readList(text) {
  const o = open(text, 'eblnode-archive/1', ['at', 'files']);
  const at = o.get('at');
  must(typeof at === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(at) && Array.isArray(o.get('files')), 'malformed');
  const files = new Map();
  for (const f of o.get('files')) {
    must(f instanceof Obj && [...f.members.keys()].every((m) => ['name', 'sha256'].includes(m)), 'malformed');
    const [name, hash] = [f.get('name'), f.get('sha256')];
    must(typeof name === 'string' && name !== '' && !/[/\\\0]|^\.\.?$|^archive\.json$/.test(name) && !files.has(name), 'malformed');
    must(typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash), 'malformed');
    files.set(name, hash);
  }
  return { by: o.get('by'), at: when(at), folder: at.replace(/[-:]/g, ''), files };
}
