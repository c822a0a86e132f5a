-- +goose Up

-- What the standing of a signing key was judged by when its signature was believed: the
-- certificates of the path and the OCSP answers, as lists of 32-byte hashes of their DER.
-- Only where there is something beyond evidence_keys: a key that an authority vouches for,
-- or that a responder was asked about. jws_sum is the SHA-256 of the compact JWS.
CREATE TABLE evidence (
  jws_sum      BLOB PRIMARY KEY CHECK (length(jws_sum) = 32),
  bill         INTEGER NOT NULL REFERENCES bills (id),
  checked_at   INTEGER NOT NULL,
  certificates BLOB NOT NULL CHECK (length(certificates) % 32 = 0),
  answers      BLOB NOT NULL CHECK (length(answers) % 32 = 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX evidence_of_bill ON evidence (bill);

-- The DER, each once: certificates and answers serve many signatures.
CREATE TABLE evidence_parts (
  id  INTEGER PRIMARY KEY,
  sum BLOB NOT NULL UNIQUE CHECK (length(sum) = 32),
  der BLOB NOT NULL
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER evidence_stays BEFORE UPDATE ON evidence
BEGIN SELECT raise(ABORT, 'evidence is never changed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER evidence_parts_stay BEFORE UPDATE ON evidence_parts
BEGIN SELECT raise(ABORT, 'evidence is never changed'); END;
-- +goose StatementEnd
