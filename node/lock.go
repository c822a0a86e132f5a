package node

import "errors"

// ErrInUse says that another process has the data folder. Talk to that one, through
// its admin socket, or stop it.
var ErrInUse = errors.New("the data folder is in use by another eblnode")

// ErrDamaged says that the pages of the database are not those of a database. Keep the
// files, and restore a backup.
var ErrDamaged = errors.New("the database is damaged")
