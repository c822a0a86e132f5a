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
