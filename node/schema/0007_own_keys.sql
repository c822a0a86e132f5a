-- +goose Up

-- Our own trust entry as it was last published. What once stood in it stays: chains that
-- our old keys signed are checked for years, by us and by every peer.
ALTER TABLE node ADD COLUMN entry TEXT NOT NULL DEFAULT '';

-- Where an attempt went, how that was found, and whether DNSSEC vouched for it.
ALTER TABLE attempts ADD COLUMN place TEXT NOT NULL DEFAULT '';
