package node

import "errors"

// ErrInUse says that another process has the data folder. Talk to that one, through
// its admin socket, or stop it.
var ErrInUse = errors.New("the data folder is in use by another eblnode")
