-- +goose Up

-- Our own trust entry as it was last published. What once stood in it stays: chains that
-- our old keys signed are checked for years, by us and by every peer.
ALTER TABLE node ADD COLUMN entry TEXT NOT NULL DEFAULT '';
