package judge_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"eblnode/identity"
	"eblnode/internal/vectest"
	"eblnode/judge"
	"eblnode/testvectors"
)

// TestMemoryChangesNoVerdict judges the bundles of the vectors by themselves and with a Memory of
// all others; also with other trust entries in them, and without their certificates: what
// one file brought must not help another.
func TestMemoryChangesNoVerdict(t *testing.T) {
	list, err := testvectors.LoadBundles()
	if err != nil {
		t.Fatal(err)
	}
	trusts, entries := map[string]*identity.Trust{}, map[string]json.RawMessage{}
	memories := map[string]*judge.Memory{"": {}} // one that sees another trust file with each bundle
	said := map[string]int{}
	for _, v := range list {
		if trusts[v.Trust] == nil {
			trusts[v.Trust], entries[v.Trust], memories[v.Trust] = vectest.Trust(t, v.Trust), entriesOf(t, v.Trust, "base", "bank-only"), &judge.Memory{}
		}
		body, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		_, o := vectest.Judge(t, v)
		o.Trust = trusts[v.Trust]
		bodies := map[string][]byte{"as it is": body, "with our trust entries": with(t, body, "trust", entries[v.Trust]), "without certificates": with(t, body, "certificates", nil)}
		for _, name := range []string{"as it is", "with our trust entries", "without certificates"} {
			o.Memory = nil
			want := judge.File(bodies[name], o)
			for _, c := range want.Checks {
				said[c.Detail]++
			}
			for _, memory := range []string{"", v.Trust, v.Trust} {
				o.Memory = memories[memory]
				if got := judge.File(bodies[name], o); !bytes.Equal(text(t, got), text(t, want)) {
					t.Errorf("%s, %s, with the memory %q: got %s\nwant %s", v.Name, name, memory, text(t, got), text(t, want))
				}
			}
		}
	}
	for _, s := range []string{"the same as yours", "not the same as yours, which alone counts", "it cannot be read; it is not used"} {
		if said[s] < 10 {
			t.Errorf("%q was said %d times, which is no test", s, said[s])
		}
	}
}

// entriesOf are the trust entries of trust files of the vectors, changed ones, and what is none.
func entriesOf(t *testing.T, names ...string) json.RawMessage {
	t.Helper()
	list := []json.RawMessage{json.RawMessage(`{}`)}
	var platforms []*identity.Platform
	for _, name := range names {
		ps, _ := vectest.Platforms(t, name)
		platforms = append(platforms, ps...)
	}
	for _, p := range platforms {
		for _, known := range []string{p.Name, p.Name + " and others"} {
			other := *p
			other.Name = known
			entry, err := other.JSON()
			if err != nil {
				continue // keys of several platforms
			}
			list = append(list, entry)
		}
	}
	out, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// with is a bundle with another value of a member that is an array; as it was where it is no JSON.
func with(t *testing.T, body []byte, name string, value json.RawMessage) []byte {
	t.Helper()
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) != nil || len(m["format"]) == 0 {
		return body
	}
	if m[name] = value; value == nil {
		m[name] = json.RawMessage("[]")
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func text(t *testing.T, r *judge.Report) []byte {
	t.Helper()
	out, err := json.Marshal(struct {
		*judge.Report
		Legs []judge.Leg
	}{r, r.Journey})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
