-- +goose Up

-- Whose database this is. A database of another platform is refused.
CREATE TABLE node (
  id     INTEGER PRIMARY KEY CHECK (id = 1),
  domain TEXT NOT NULL
) STRICT;

-- Trust entries of peers, as given. Ours is made from the configuration.
CREATE TABLE peers (
  domain   TEXT PRIMARY KEY,
  entry    TEXT NOT NULL,
  added_at INTEGER NOT NULL,
  removed_at INTEGER
) STRICT;

CREATE TABLE users (
  local_id   TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  role       TEXT NOT NULL CHECK (role IN ('issuer', 'holder', 'auditor', 'operator')),
  token_sum  BLOB NOT NULL UNIQUE CHECK (length(token_sum) = 32),
  party      TEXT NOT NULL,
  disabled   INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created_at INTEGER NOT NULL
) STRICT;

-- One row a bill: who is in control as far as this node knows. version is the
-- compare-and-swap: every change of control names the version that it saw.
CREATE TABLE bills (
  id            INTEGER PRIMARY KEY,
  document_hash BLOB NOT NULL UNIQUE CHECK (length(document_hash) = 32),
  document      BLOB NOT NULL,
  carrier_code  TEXT NOT NULL,
  reference     TEXT NOT NULL,
  sub_reference TEXT NOT NULL,
  to_order      INTEGER NOT NULL CHECK (to_order IN (0, 1)),
  profile       TEXT NOT NULL,
  issuing       TEXT NOT NULL,
  issuer        TEXT NOT NULL,
  possessor     TEXT NOT NULL,
  status        TEXT NOT NULL CHECK (status IN ('active', 'surrenderPending', 'amendmentPending', 'paperPending', 'void')),
  returned_by   TEXT NOT NULL,
  head          BLOB NOT NULL CHECK (length(head) = 32),
  length        INTEGER NOT NULL,
  control       TEXT NOT NULL CHECK (control IN ('held', 'locked', 'disputed', 'away', 'void')),
  live          INTEGER NOT NULL CHECK (live IN (0, 1)),
  version       INTEGER NOT NULL,
  created_at    INTEGER NOT NULL,
  changed_at    INTEGER NOT NULL,
  CHECK ((status = 'void') = (control = 'void')),
  CHECK ((possessor = '') = (status = 'void'))
) STRICT;

CREATE UNIQUE INDEX bills_one_live_reference ON bills (carrier_code, reference, sub_reference)
  WHERE live = 1 AND reference <> '';

-- The chain as accepted or sealed: append only. The key is the bill and the position
-- in one number, so that a new row needs no index beside the table and lands near its
-- bill and not at the random place of a hash.
CREATE TABLE entries (
  id        INTEGER PRIMARY KEY CHECK (id = bill * 1048576 + idx),
  bill      INTEGER NOT NULL REFERENCES bills (id),
  idx       INTEGER NOT NULL,
  hash      BLOB NOT NULL CHECK (length(hash) = 32),
  claimed   BLOB NOT NULL CHECK (length(claimed) = 32),
  jws       TEXT NOT NULL,
  signer    TEXT NOT NULL,
  key       BLOB NOT NULL CHECK (length(key) = 32),
  signed_at INTEGER NOT NULL,
  stored_at INTEGER NOT NULL
) STRICT;

-- Transactions inside this platform, signed as they happened. sealed is the index of
-- the entry that carries them, once that entry is part of the chain.
CREATE TABLE steps (
  id     INTEGER PRIMARY KEY CHECK (id = bill * 1048576 + seq),
  bill   INTEGER NOT NULL REFERENCES bills (id),
  seq    INTEGER NOT NULL,
  jws    TEXT NOT NULL,
  tx     TEXT NOT NULL,
  at     INTEGER NOT NULL,
  sealed INTEGER
) STRICT;

-- Local users who are or were in control of a bill, or issued it: who may see it.
CREATE TABLE parties (
  bill     INTEGER NOT NULL REFERENCES bills (id),
  local_id TEXT NOT NULL,
  PRIMARY KEY (bill, local_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX parties_of_user ON parties (local_id);

-- What we accepted from peers: one envelope, one receipt, for ever.
CREATE TABLE receipts (
  envelope_hash BLOB PRIMARY KEY CHECK (length(envelope_hash) = 32),
  bill          INTEGER NOT NULL REFERENCES bills (id),
  idx           INTEGER NOT NULL,
  peer          TEXT NOT NULL,
  request_sum   BLOB NOT NULL CHECK (length(request_sum) = 32),
  receipt       TEXT NOT NULL,
  at            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What we refused with our signature. refusal is the error beside it, so that the
-- same question has the same answer byte for byte.
CREATE TABLE rejections (
  id            INTEGER PRIMARY KEY,
  envelope_hash BLOB NOT NULL CHECK (length(envelope_hash) = 32),
  jws_sum       BLOB NOT NULL CHECK (length(jws_sum) = 32),
  request_sum   BLOB NOT NULL CHECK (length(request_sum) = 32),
  peer          TEXT NOT NULL,
  code          TEXT NOT NULL CHECK (code IN ('BSIG', 'BENV', 'DISE')),
  refusal       TEXT NOT NULL,
  rejection     TEXT NOT NULL,
  at            INTEGER NOT NULL
) STRICT;
CREATE INDEX rejections_of_envelope ON rejections (envelope_hash);

-- Continuations of a bill that is known here with another one: proof of who signed twice.
CREATE TABLE branches (
  id     INTEGER PRIMARY KEY,
  bill   INTEGER NOT NULL REFERENCES bills (id),
  idx    INTEGER NOT NULL,
  peer   TEXT NOT NULL,
  jws    TEXT NOT NULL,
  at     INTEGER NOT NULL
) STRICT;
CREATE INDEX branches_of_bill ON branches (bill);

-- The outbox. A transfer in state prepared has not left; sending is in doubt until a
-- signed verdict; an open transfer locks its bill.
CREATE TABLE transfers (
  seq           INTEGER PRIMARY KEY,
  id            TEXT NOT NULL UNIQUE,
  bill          INTEGER NOT NULL REFERENCES bills (id),
  user          TEXT NOT NULL,
  peer          TEXT NOT NULL,
  transferee    TEXT NOT NULL,
  instruction   TEXT NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('prepared', 'sending', 'accepted', 'rejected', 'disputed', 'cancelled')),
  idx           INTEGER NOT NULL,
  steps         INTEGER NOT NULL,
  envelope_hash BLOB NOT NULL CHECK (length(envelope_hash) = 32),
  jws           TEXT NOT NULL,
  body_sum      BLOB NOT NULL CHECK (length(body_sum) = 32),
  created_at    INTEGER NOT NULL,
  sent_at       INTEGER,
  attempts      INTEGER NOT NULL DEFAULT 0,
  next_at       INTEGER NOT NULL,
  last_at       INTEGER,
  last_answer   TEXT NOT NULL DEFAULT '',
  verdict       TEXT,
  settled_by    TEXT CHECK (settled_by IN ('receipt', 'rejection', 'chain', 'cancel', 'operators')),
  settled_at    INTEGER
) STRICT;
CREATE UNIQUE INDEX transfers_one_open ON transfers (bill) WHERE state IN ('prepared', 'sending', 'disputed');
CREATE INDEX transfers_due ON transfers (next_at) WHERE state IN ('prepared', 'sending');
CREATE INDEX transfers_of_bill ON transfers (bill);

-- Verdicts of carriers on returned bills: ours, and those we fetched.
CREATE TABLE verdicts (
  bill    INTEGER PRIMARY KEY REFERENCES bills (id),
  verdict TEXT NOT NULL,
  at      INTEGER NOT NULL
) STRICT;

-- Returned bills whose carrier has not answered yet.
CREATE TABLE verdict_polls (
  bill     INTEGER PRIMARY KEY REFERENCES bills (id),
  attempts INTEGER NOT NULL,
  next_at  INTEGER NOT NULL
) STRICT;

-- Every key under which a stored signature was verified, as it was trusted then.
CREATE TABLE evidence_keys (
  thumbprint BLOB PRIMARY KEY CHECK (length(thumbprint) = 32),
  platform   TEXT NOT NULL,
  entry      TEXT NOT NULL,
  first_used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened, append only; each row is hashed with the one before it.
CREATE TABLE audit (
  id     INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,
  actor  TEXT NOT NULL,
  action TEXT NOT NULL,
  bill   BLOB,
  detail TEXT NOT NULL,
  hash   BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
