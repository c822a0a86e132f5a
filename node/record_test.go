package node

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// TestAcceptedDataIsWrittenWhole: what the witness keeps is written by hand, and a field
// that is forgotten there would be missing after a restore.
func TestAcceptedDataIsWrittenWhole(t *testing.T) {
	evidence := &identity.Evidence{CheckedAt: time.UnixMilli(1700000000000).UTC()}
	for _, d := range []acceptedData{
		{},
		{Sum: envelope.HashOf([]byte("a")), Document: "{\"a\":\"\\n<é>\u2028\x01\"}", From: 3, Entries: []againEntry{
			{Claimed: envelope.HashOf([]byte("b")), JWS: "a.b.c"}, {Claimed: envelope.HashOf([]byte("c")), JWS: "d.e.f", Evidence: evidence}}},
	} {
		text, err := d.appendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(text, "\n\r") {
			t.Errorf("it is not one line: %q", text)
		}
		var got acceptedData
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if d.Entries == nil {
			d.Entries = []againEntry{}
		}
		if !reflect.DeepEqual(got, d) {
			t.Errorf("got %+v, want %+v", got, d)
		}
	}
	// One more field here is one more in appendJSON.
	if got := reflect.TypeFor[againEntry]().NumField(); got != 3 {
		t.Errorf("againEntry has %d fields, and appendJSON writes 3", got)
	}
	if got := reflect.TypeFor[acceptedData]().NumField(); got != 6 {
		t.Errorf("acceptedData has %d fields, and appendJSON writes 4, without bill and document", got)
	}
}
