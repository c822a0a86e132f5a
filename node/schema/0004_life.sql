-- +goose Up

-- Orders of local users that came with an Idempotency-Key: the same key and the same
-- request have the same outcome for at least 30 days.
CREATE TABLE orders (
  user        TEXT NOT NULL,
  key         TEXT NOT NULL,
  request_sum BLOB NOT NULL CHECK (length(request_sum) = 32),
  outcome     TEXT NOT NULL,
  at          INTEGER NOT NULL,
  PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_of_age ON orders (at);

-- The newest attempts of each transfer, and what the peer answered.
CREATE TABLE attempts (
  transfer INTEGER NOT NULL REFERENCES transfers (seq),
  n        INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  answer   TEXT NOT NULL,
  PRIMARY KEY (transfer, n)
) STRICT, WITHOUT ROWID;
