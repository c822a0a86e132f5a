package judge

import (
	"bytes"
	"fmt"
	"testing"

	"eblnode/envelope"
)

// TestMemoryIsBounded: files of a stranger fill it with nothing but what is new.
func TestMemoryIsBounded(t *testing.T) {
	var m Memory
	for i := range 3 * maxComparisons {
		m.comparison(nil, []byte(fmt.Sprintf(`{"domain":"p%d.example"}`, i)))
		der := []byte(fmt.Sprint(i))
		m.certificate(envelope.HashOf(der), der)
		if len(m.comparisons) > maxComparisons || len(m.certificates) > maxCertificates {
			t.Fatalf("after %d: got %d comparisons and %d certificates, want at most %d and %d", i, len(m.comparisons), len(m.certificates), maxComparisons, maxCertificates)
		}
	}
	kept := len(m.certificates)
	large := bytes.Repeat([]byte{0x30}, maxCertificate+1)
	if m.certificate(envelope.HashOf(large), large); len(m.certificates) > kept || kept == 0 {
		t.Errorf("got %d certificates, want %d: one of %d bytes is not kept", len(m.certificates), kept, len(large))
	}
}
