-- +goose Up

-- What back ends are told: one row for each thing that happened to a bill, written in
-- its transaction. Append only. uid is the event's name for ever, also where a restored
-- backup makes the number again for something else; the number is the order.
CREATE TABLE events (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  uid  TEXT NOT NULL,
  at   INTEGER NOT NULL,
  type TEXT NOT NULL,
  bill INTEGER NOT NULL REFERENCES bills (id),
  data TEXT NOT NULL
) STRICT;
