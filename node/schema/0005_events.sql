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

-- Who is told of events over HTTP. Every event up to cursor is delivered, given up, or
-- among webhook_retries. version is the compare-and-swap of operators against deliveries.
CREATE TABLE webhooks (
  id            TEXT PRIMARY KEY,
  url           TEXT NOT NULL,
  types         TEXT NOT NULL,
  secret        TEXT NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('active', 'disabled')),
  reason        TEXT NOT NULL DEFAULT '',
  cursor        INTEGER NOT NULL,
  replay_to     INTEGER NOT NULL DEFAULT 0,
  replayed_at   INTEGER NOT NULL DEFAULT 0,
  failed        INTEGER NOT NULL DEFAULT 0,
  failing_since INTEGER,
  next_at       INTEGER NOT NULL DEFAULT 0,
  last_at       INTEGER,
  last_answer   TEXT NOT NULL DEFAULT '',
  delivered     INTEGER NOT NULL DEFAULT 0,
  dropped       INTEGER NOT NULL DEFAULT 0,
  created_at    INTEGER NOT NULL,
  version       INTEGER NOT NULL DEFAULT 1
) STRICT;

-- Events up to a webhook's cursor that its receiver has still to take. Those of one bill
-- go in their order.
CREATE TABLE webhook_retries (
  webhook  TEXT NOT NULL REFERENCES webhooks (id),
  event    INTEGER NOT NULL REFERENCES events (id),
  bill     INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  next_at  INTEGER NOT NULL,
  PRIMARY KEY (webhook, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_retries_of_bill ON webhook_retries (webhook, bill, event);
