-- +goose Up

-- Documents beside their bills: the row of a bill is read at each step and written at each
-- change of control, and would take the pages of its document along every time.
CREATE TABLE documents (
  bill     INTEGER PRIMARY KEY REFERENCES bills (id),
  document BLOB NOT NULL
) STRICT;
INSERT INTO documents (bill, document) SELECT id, document FROM bills;
ALTER TABLE bills DROP COLUMN document;
