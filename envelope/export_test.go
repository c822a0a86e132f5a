package envelope

import (
	"time"

	"eblnode/identity"
)

// SignAnything signs a payload under a typ, as no function of ours does.
func SignAnything(payload []byte, s *identity.Signer, typ string) (string, error) {
	return sign(payload, s, typ, time.Time{})
}
