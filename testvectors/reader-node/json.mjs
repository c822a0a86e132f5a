// Strict JSON (docs/PROTOCOL.md J1 to J9). JSON.parse will not do: it keeps the last of two
// members of one name, takes lone surrogates, and turns numbers into doubles before anybody
// can see what was written.

/** Malformed says that the bytes are not the format, where, and which rule of docs/BUNDLE.md A that is. */
export class Malformed extends Error {
  constructor(text, path, rule = 'json') {
    super(path ? `${path}: ${text}` : text);
    this.path = path;
    this.rule = rule;
    this.text = text;
  }

  /** under is the same, at a place further out. */
  under(path) {
    return new Malformed(this.message, path, this.rule);
  }
}

/** Num is a number as it was written. */
export class Num {
  constructor(text) {
    this.text = text;
  }
}

/** Obj is an object: its members in the order of the text, and its place in the text. */
export class Obj {
  constructor() {
    this.members = new Map();
    this.start = 0;
    this.end = 0;
  }

  /** get is the member, or undefined where it is absent or null: null counts as absent. */
  get(name) {
    const v = this.members.get(name);
    return v === null ? undefined : v;
  }

  has(name) {
    return this.members.has(name);
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }); // "ignore": leave the mark in, so that it is refused

/** decodeUTF8 refuses what is not UTF-8. */
export function decodeUTF8(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Malformed('not UTF-8', undefined, 'utf8');
  }
}

/** parse reads exactly one JSON value; maxDepth counts objects and arrays, the root being 1. */
export function parse(bytes, maxDepth = 64) {
  const p = new Parser(typeof bytes === 'string' ? bytes : decodeUTF8(bytes), maxDepth);
  p.space();
  const v = p.value(1);
  p.space();
  if (p.at !== p.text.length) p.fail('something follows the value');
  return v;
}

const numberSyntax = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const escapes = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

class Parser {
  constructor(text, maxDepth) {
    this.text = text;
    this.maxDepth = maxDepth;
    this.at = 0;
  }

  fail(what, rule) {
    throw new Malformed(`${what}, at character ${this.at}`, undefined, rule);
  }

  space() {
    while (' \t\n\r'.includes(this.text[this.at]) && this.at < this.text.length) this.at++;
  }

  literal(word, value) {
    if (!this.text.startsWith(word, this.at)) this.fail('not JSON');
    this.at += word.length;
    return value;
  }

  value(depth) {
    switch (this.text[this.at]) {
      case '{': return this.object(depth);
      case '[': return this.array(depth);
      case '"': return this.string();
      case 't': return this.literal('true', true);
      case 'f': return this.literal('false', false);
      case 'n': return this.literal('null', null);
      default: return this.number();
    }
  }

  number() {
    numberSyntax.lastIndex = this.at;
    const m = numberSyntax.exec(this.text);
    if (!m) this.fail('not JSON');
    this.at += m[0].length;
    return new Num(m[0]);
  }

  open(depth) {
    if (depth > this.maxDepth) this.fail(`deeper than ${this.maxDepth} levels`, 'limit');
    this.at++;
    this.space();
  }

  // next says whether another element follows; it eats the comma or the end.
  next(end) {
    this.space();
    const c = this.text[this.at];
    if (c !== ',' && c !== end) this.fail(`neither a comma nor ${end}`);
    this.at++;
    this.space();
    return c === ',';
  }

  object(depth) {
    const o = new Obj();
    o.start = this.at;
    this.open(depth);
    if (this.text[this.at] === '}') {
      this.at++;
    } else {
      do {
        if (this.text[this.at] !== '"') this.fail('not a member name');
        const name = this.string();
        if (o.members.has(name)) this.fail('a member name twice', 'duplicateName');
        this.space();
        if (this.text[this.at] !== ':') this.fail('no colon');
        this.at++;
        this.space();
        o.members.set(name, this.value(depth + 1));
      } while (this.next('}'));
    }
    o.end = this.endOf('}');
    return o;
  }

  // endOf is the place after the bracket that was eaten last: next may have eaten white space too.
  endOf(bracket) {
    return this.text.lastIndexOf(bracket, this.at - 1) + 1;
  }

  array(depth) {
    const a = [];
    this.open(depth);
    if (this.text[this.at] === ']') {
      this.at++;
      return a;
    }
    do a.push(this.value(depth + 1)); while (this.next(']'));
    return a;
  }

  string() {
    let out = '';
    this.at++;
    for (;;) {
      const c = this.text[this.at];
      if (c === undefined) this.fail('a string without end');
      if (c < ' ') this.fail('a control character in a string');
      this.at++;
      if (c === '"') break;
      out += c === '\\' ? this.escape() : c;
    }
    if (!out.isWellFormed()) this.fail('half a surrogate pair', 'utf8');
    return out;
  }

  escape() {
    const c = this.text[this.at++];
    if (c in escapes) return escapes[c];
    const hex = this.text.slice(this.at, this.at + 4);
    if (c !== 'u' || !/^[0-9a-fA-F]{4}$/.test(hex)) this.fail('an unknown escape');
    this.at += 4;
    return String.fromCharCode(parseInt(hex, 16));
  }
}

/** withoutSpace is the text of a value without insignificant white space, otherwise as written. */
export function withoutSpace(text) {
  return text.replace(/("(?:[^"\\]|\\.)*")|[ \t\n\r]+/gs, (_, string) => string ?? '');
}

/**
 * decimal is the exact value of a number's text: sign, digits without zeros at the ends, and the
 * power of ten. Two texts are one value where this is the same string.
 */
export function decimal(text) {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(text);
  let digits = (whole + fraction).replace(/^0+/, '');
  if (digits === '') return '0';
  let power = BigInt(exponent) - BigInt(fraction.length);
  const trimmed = digits.replace(/0+$/, '');
  power += BigInt(digits.length - trimmed.length);
  return `${sign}${trimmed}e${power}`;
}

// tooFar finds exponents of more than five digits and above 100000, on numbers that are not zero (J7).
const tooFar = /^(?=[^eE]*[1-9]).*[eE][+-]?0*(?:[1-9][0-9]{6,}|[2-9][0-9]{5}|1(?!00000)[0-9]{5})$/;

/**
 * canonical is the RFC 8785 text. ECMAScript prints numbers and sorts strings (by UTF-16 code
 * units) as RFC 8785 wants them; a number that would become another one is refused.
 */
export function canonical(v, path = '$') {
  if (v === null || typeof v === 'boolean') return String(v);
  if (typeof v === 'string') return quote(v);
  if (v instanceof Num) {
    if (tooFar.test(v.text)) throw new Malformed('an exponent beyond 100000', path, 'number');
    const n = Number(v.text);
    const text = Object.is(n, -0) ? '0' : String(n);
    if (!Number.isFinite(n) || decimal(text) !== decimal(v.text)) throw new Malformed('a number that RFC 8785 would change', path, 'number');
    return text;
  }
  if (Array.isArray(v)) return `[${v.map((e, i) => canonical(e, `${path}[${i}]`)).join(',')}]`;
  const names = [...v.members.keys()].sort();
  return `{${names.map((n) => `${quote(n)}:${canonical(v.members.get(n), `${path}.${n}`)}`).join(',')}}`;
}

// quote: JSON.stringify escapes what RFC 8785 escapes, as it escapes it, once no surrogate is alone.
const quote = (s) => JSON.stringify(s);

/** equal says whether two values are the same JSON value; numbers are compared as decimals. */
export function equal(a, b) {
  if (a instanceof Num && b instanceof Num) return decimal(a.text) === decimal(b.text);
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((e, i) => equal(e, b[i]));
  if (a instanceof Obj && b instanceof Obj) {
    return a.members.size === b.members.size && [...a.members].every(([n, v]) => b.members.has(n) && equal(v, b.members.get(n)));
  }
  return a === b;
}
