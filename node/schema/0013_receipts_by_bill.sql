-- +goose Up

-- Receipts by bill and position, as entries: a new bill's row lands at the end of the table,
-- and no index by hash has a page of its own changed for each transfer. Who asks for the
-- receipt of an envelope knows its document, and so its bill. One receipt a place is the
-- stronger rule: two envelopes for one place of a chain cannot both be accepted.
CREATE TABLE receipts_by_bill (
  id            INTEGER PRIMARY KEY CHECK (id = bill * 1048576 + idx),
  bill          INTEGER NOT NULL REFERENCES bills (id),
  idx           INTEGER NOT NULL,
  envelope_hash BLOB NOT NULL CHECK (length(envelope_hash) = 32),
  peer          TEXT NOT NULL,
  request_sum   BLOB NOT NULL CHECK (length(request_sum) = 32),
  receipt       TEXT NOT NULL,
  at            INTEGER NOT NULL
) STRICT;
INSERT INTO receipts_by_bill SELECT bill * 1048576 + idx, bill, idx, envelope_hash, peer, request_sum, receipt, at FROM receipts ORDER BY bill, idx;
DROP TABLE receipts;
ALTER TABLE receipts_by_bill RENAME TO receipts;
