-- +goose Up

-- Tokens that may be used once and were: whose it was, and the SHA-256 of its name. A row
-- outlives the token, and the process.
CREATE TABLE spent_tokens (
  owner TEXT NOT NULL,
  id    BLOB NOT NULL CHECK (length(id) = 32),
  until INTEGER NOT NULL,
  PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_tokens_of_age ON spent_tokens (until);

-- Systems of customers, which act for local users by tokens that they sign themselves.
CREATE TABLE systems (
  name       TEXT PRIMARY KEY,
  keys       TEXT NOT NULL, -- a JWK set
  disabled   INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created_at INTEGER NOT NULL
) STRICT;

-- For whom: the customer as the system names it, and the local user that it is here.
CREATE TABLE system_customers (
  system   TEXT NOT NULL REFERENCES systems (name),
  customer TEXT NOT NULL,
  local_id TEXT NOT NULL REFERENCES users (local_id),
  PRIMARY KEY (system, customer)
) STRICT, WITHOUT ROWID;
