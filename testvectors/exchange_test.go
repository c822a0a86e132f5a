package testvectors_test

import (
	"encoding/json"
	"testing"

	"eblnode/testvectors"
)

func exchanges(t *testing.T) []*testvectors.Exchange {
	t.Helper()
	xs, err := testvectors.LoadExchanges()
	if err != nil {
		t.Fatal(err)
	}
	return xs
}

// TestExchangeSchema checks every exchange against exchange.schema.json, and that each
// kind of answer occurs.
func TestExchangeSchema(t *testing.T) {
	schema := schemaOf(t, "exchange.schema.json")
	seen := map[string]bool{}
	for _, x := range exchanges(t) {
		file, err := testvectors.Files.ReadFile("testdata/" + x.Name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var value map[string]any
		if err := json.Unmarshal(file, &value); err != nil {
			t.Fatal(err)
		}
		mustFit(t, schema, x.Name, file)
		for name := range value {
			if _, ok := schema.Properties[name]; !ok {
				t.Errorf("%s: the member %s is not in the schema", x.Name, name)
			}
		}
		for i, r := range x.Requests {
			a := r.Answer
			if a.SameAs != nil && *a.SameAs >= i {
				t.Errorf("%s: request %d is answered like request %d", x.Name, i, *a.SameAs)
			}
			if (a.Receipt == "") == (a.Code == 0) || (a.ResponseCode == "") != (a.EnvelopeHash == "") {
				t.Errorf("%s: request %d: an answer that is none, or two: %+v", x.Name, i, a)
			}
			seen[a.ResponseCode] = true
			seen["receipt"] = seen["receipt"] || a.Receipt != ""
			seen["again"] = seen["again"] || a.SameAs != nil
			seen["unsigned"] = seen["unsigned"] || a.Receipt == "" && a.ResponseCode == ""
		}
	}
	for _, want := range []string{"BSIG", "BENV", "DISE", "receipt", "again", "unsigned"} {
		if !seen[want] {
			t.Errorf("no exchange has an answer %s", want)
		}
	}
}
