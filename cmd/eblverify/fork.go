package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"eblnode/chain"
	"eblnode/identity"
)

// A fork is one place where the chains of an evidence file part.
type fork struct {
	Kind      string   `json:"kind"`
	Platform  string   `json:"platform,omitempty"`
	Entry     int      `json:"entry"`
	Envelopes []string `json:"envelopeHashes"`
}

// isForkProof reports whether a file is the evidence of a fork, and not a block.
func isForkProof(body []byte) bool {
	var head struct {
		Format string `json:"format"`
	}
	return json.Unmarshal(body, &head) == nil && strings.HasPrefix(head.Format, "eblnode-fork-evidence/")
}

// judgeFork is the verdict on such a file.
func judgeFork(body []byte, trust *identity.Trust, at time.Time) report {
	var p chain.ForkProof
	if err := json.Unmarshal(body, &p); err != nil {
		return report{Verdict: invalid, Reason: "malformed", Detail: err.Error(), Entry: -1, Transaction: -1}
	}
	found, err := chain.VerifyForkProof(&p, trust, at)
	if err != nil {
		return refusal(err)
	}
	r := report{Verdict: nothing, Entry: -1, Transaction: -1, Document: p.DocumentHash.String()}
	for _, f := range found {
		if f.Accuses() {
			r.Verdict = proven
		}
		out := fork{Kind: string(f.Kind), Entry: f.Entry, Envelopes: []string{f.Envelope[0].String(), f.Envelope[1].String()}}
		if !f.Platform.IsZero() {
			out.Platform = f.Platform.String()
		}
		r.Forks = append(r.Forks, out)
	}
	return r
}

func (r *report) peopleFork(w io.Writer) {
	fmt.Fprintf(w, "  document     %s\n", r.Document)
	for _, f := range r.Forks {
		says := map[string]string{
			string(chain.SignedTwice):          f.Platform + " signed two continuations of one head; a rejection of either by its addressee, if there is one, would clear it",
			string(chain.RejectedAndContinued): f.Platform + " signed that it rejects an envelope, and signed on after it",
			string(chain.LawfulAgain):          f.Platform + " signed again after a rejection, which is lawful",
			string(chain.TwoSigners):           "two platforms signed one continuation each; nobody signed twice",
		}[f.Kind]
		fmt.Fprintf(w, "  entry %d      %s\n", f.Entry, says)
		for _, e := range f.Envelopes {
			fmt.Fprintf(w, "               %s\n", e)
		}
	}
}
