// Package hsm uses private keys that are in hardware, by PKCS #11. It is the one place
// with cgo, so it is only in programs that were built with the tag pkcs11; in others
// [Open] says so.
package hsm

import "errors"

// ErrNotBuilt says that this program cannot use hardware.
var ErrNotBuilt = errors.New("this eblnode was built without PKCS #11; build it with: CGO_ENABLED=1 go build -tags pkcs11 ./cmd/eblnode")

// A Config says where the hardware is.
type Config struct {
	// Module is the path of the vendor's library. Its code runs in this process.
	Module string
	// Token is the label of the token in it.
	Token string
	// PIN opens the token.
	PIN string
}
