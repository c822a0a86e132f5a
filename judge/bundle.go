package judge

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// bundle is the verdict on an evidence bundle: docs/BUNDLE.md, section 3, in its order.
func bundle(body []byte, o Options) *Report {
	r := newReport("bundle")
	b, err := envelope.ParseBundle(body, o.Limits)
	if err != nil {
		return r.malformed(err)
	}
	r.check("the shape of everything", OK, "")
	j := &judging{Report: r, o: o, b: b, receipted: map[int]bool{}}
	j.state.Document = b.DocumentHash
	j.describe()
	j.maker()
	if b.Block.Document == nil {
		j.check("the document", Info, "it is not in the file; its hash is "+b.DocumentHash.String())
	}
	rest := []func() bool{j.inside, j.receipts, j.rejections, j.carrier}
	holds := j.chain(j.known)
	for _, step := range rest {
		holds = holds && step()
	}
	// Who signed twice can be told without the rest of the chain.
	if holds || j.Verdict == Indeterminate {
		before := *r
		if forked := j.branches(); !holds {
			r.Verdict, r.Reason, r.Rule, r.Detail, r.Branch, r.Path = before.Verdict, before.Reason, before.Rule, before.Detail, before.Branch, before.Path
		} else {
			holds = forked
		}
	}
	if holds {
		j.conclude()
	}
	j.compare()
	j.picture()
	return r
}

// inside is C: the steps since the last entry.
func (j *judging) inside() bool {
	if len(j.b.Steps) == 0 {
		return true
	}
	steps, err := chain.VerifySteps(&j.b.Block, j.state, j.b.Steps, chain.Options{Trust: j.o.Trust, Now: j.o.Now, Known: j.known, Stop: j.o.Stop})
	if err != nil {
		e, _ := errors.AsType[*chain.Error](err)
		at := e.Transaction
		j.refuse(err, fmt.Sprintf("step %d inside the platform", at))
		j.Step, j.Transaction, j.Path = &at, -1, fmt.Sprintf("$.steps[%d]", at)
		return false
	}
	for i := range steps {
		s := &steps[i]
		if j.stopped() {
			return j.late()
		}
		j.lapse(s.Key, j.b.Steps[i].JWS.Raw)
		j.state = s.After
		j.Steps = append(j.Steps, Entry{Signer: s.Signer.String(), Key: s.Key.ID, Fingerprint: s.Key.Fingerprint(), SignedAt: stamp(s.Transaction.At),
			Transactions: []Transaction{transactionOf(s.Transaction, j.b.Steps[i].Transaction.Comments)}})
		j.check(fmt.Sprintf("step %d inside %s", i, s.Signer), OK, "key "+s.Key.ID)
	}
	j.steps = steps
	return true
}

// signed verifies an answer of p: at its iat, if that is not after now; else at the
// time that it is about, or now. The part is "" where the signature holds; known is false
// where the key is not to be judged.
func (j *judging) signed(jws envelope.JWS, p *identity.Platform, about time.Time) (key *identity.Key, part string, known bool) {
	times := []time.Time{jws.Header.IsAt}
	if times[0].IsZero() || times[0].After(j.o.Now) {
		times = []time.Time{j.o.Now, about}
	}
	for _, at := range times {
		k, err := j.believe(jws, p, at)
		if err == nil {
			return k, "", true
		}
		e, ok := errors.AsType[*envelope.SignatureError](err)
		if !ok || e.Reason != envelope.BadSignature {
			return nil, "", false
		}
		part = e.Part
	}
	return nil, part, true
}

// addressee is the platform that an entry gives control to.
func (j *judging) addressee(e *envelope.Entry) (*identity.Platform, bool) {
	last := e.Payload.Transactions[len(e.Payload.Transactions)-1]
	return j.o.Trust.Find(last.Transferee.ID.Host)
}

func (j *judging) stopped() bool { return j.o.Stop != nil && j.o.Stop() }

func (j *judging) late() bool {
	return j.broken(Indeterminate, string(chain.OutOfTime), "", "the rest", "judging took longer than allowed")
}

// receipts is D.
func (j *judging) receipts() bool {
	place := map[string]int{}
	for i := range j.b.Block.Entries {
		place[j.b.Block.Entries[i].Claimed.String()] = i
	}
	seen := map[int]bool{}
	for i, jws := range j.b.Receipts {
		if j.stopped() {
			return j.late()
		}
		what := fmt.Sprintf("receipt %d", i)
		bad := func(part, format string, args ...any) bool {
			j.Receipt, j.Path = &i, fmt.Sprintf("$.receipts[%d]", i)
			return j.broken(Invalid, "badReceipt", part, what, format, args...)
		}
		at, found := place[string(jws.Payload)]
		switch {
		case !found:
			return bad("entry", "the receipt is of no entry of the chain")
		case seen[at]:
			return bad("twice", "entry %d has two receipts", at)
		}
		seen[at] = true
		e := &j.b.Block.Entries[at]
		what = fmt.Sprintf("receipt of entry %d", at)
		p, trusted := j.addressee(e)
		if !trusted {
			j.check(what, Unjudged, "there is no trust entry for "+e.Payload.Transactions[len(e.Payload.Transactions)-1].Transferee.ID.Host.String())
			continue
		}
		key, part, known := j.signed(jws, p, e.Payload.SignedAt())
		switch iat := jws.Header.IsAt; {
		case !known:
			j.check(what, Unjudged, p.Domain.String()+" gave us no such key, or it was reported stolen")
			continue
		case part != "":
			return bad(part, "the receipt of entry %d is not signed by %s", at, p.Domain)
		case !iat.IsZero() && iat.Before(e.Payload.SignedAt().Add(-envelope.ClockSkew)):
			return bad("time", "the receipt is older than the envelope it confirms")
		}
		j.receipted[at] = true
		j.check(what, OK, fmt.Sprintf("%s took control, key %s", p.Domain, key.ID))
	}
	return true
}

// rejections is E.
func (j *judging) rejections() bool {
	for i := range j.b.Rejections {
		if j.stopped() {
			return j.late()
		}
		if !j.rejection(i) {
			return false
		}
	}
	return true
}

// placed is an entry of the chain (its index) or of a branch (-1).
type placed struct {
	entry *envelope.Entry
	at    int
	text  envelope.Hash // of the JWS
}

// subject is the entry that a rejection is about: of the chain (its index) or of a branch
// (-1). Of several with one payload it is the one whose bytes the rejection names. Each entry is
// hashed once: a file may bring a thousand of them, and a thousand rejections.
func (j *judging) subject(r envelope.Rejection) (e *envelope.Entry, at int, bytes bool) {
	if j.placed == nil {
		j.placed = map[envelope.Hash][]placed{}
		put := func(e *envelope.Entry, at int) {
			h := e.Hash()
			j.placed[h] = append(j.placed[h], placed{e, at, envelope.HashOf([]byte(e.JWS.Raw))})
		}
		for i := range j.b.Block.Entries {
			put(&j.b.Block.Entries[i], i)
		}
		for i := range j.b.Branches {
			for k := range j.b.Branches[i].Entries {
				put(&j.b.Branches[i].Entries[k], -1)
			}
		}
	}
	at = -1
	for _, p := range j.placed[r.EnvelopeHash] {
		if e, at = p.entry, p.at; p.text == r.JWSSum {
			return e, at, true
		}
	}
	return e, at, false
}

func (j *judging) rejection(i int) bool {
	r := &j.b.Rejections[i]
	what := fmt.Sprintf("rejection %d", i)
	say := func(v Verdict, reason, part, format string, args ...any) bool {
		j.Rejection, j.Path = &i, fmt.Sprintf("$.rejections[%d]", i)
		return j.broken(v, reason, part, what, format, args...)
	}
	bad := func(part, format string, args ...any) bool {
		return say(Invalid, "badRejection", part, format, args...)
	}
	e, at, bytes := j.subject(r.Rejection)
	switch {
	case e == nil:
		return bad("entry", "the rejection is of no entry of the chain or of a branch")
	case !bytes:
		return bad("bytes", "the rejection is of other bytes than those of the entry")
	}
	sender, known := j.o.Trust.Find(e.Payload.Transactions[0].PlatformHost)
	receiver, trusted := j.addressee(e)
	if !trusted {
		j.check(what, Unjudged, "there is no trust entry for who signed it")
		return true
	}
	if r.Rejection.Receiver != receiver.Domain || known && r.Rejection.Sender != sender.Domain {
		return bad("parties", "the rejection is between %s and %s, the transfer is not", r.Rejection.Sender, r.Rejection.Receiver)
	}
	_, part, ok := j.signed(r.JWS, receiver, e.Payload.SignedAt())
	switch {
	case !ok:
		j.check(what, Unjudged, receiver.Domain.String()+" gave us no such key, or it was reported stolen")
		return true
	case part != "":
		return bad(part, "the rejection is not signed by %s", receiver.Domain)
	}
	last := at == len(j.b.Block.Entries)-1
	taken := j.receipted[at] || at >= 0 && (!last || len(j.b.Steps) > 0)
	switch final := r.Rejection.Code != envelope.DisputeCode; {
	case at >= 0 && final && taken && r.Rejection.Code == envelope.BadSignatureCode:
		return say(Indeterminate, "contradicted", "", "%s rejected this signature of entry %d (BSIG), and took control by the entry, which it may have got again with another", receiver.Domain, at)
	case at >= 0 && final && taken:
		return say(Indeterminate, "contradicted", "", "%s rejected entry %d, and took control by it", receiver.Domain, at)
	case at >= 0 && final:
		return say(Invalid, "rejectedEntry", "", "%s rejected the last entry: control never passed to it", receiver.Domain)
	case at >= 0 && last && !taken:
		return say(Indeterminate, "disputed", "", "%s says that it knows another continuation than the last entry", receiver.Domain)
	}
	j.check(what, OK, fmt.Sprintf("%s rejected an envelope of %s (%s)", receiver.Domain, r.Rejection.Sender, r.Rejection.Code))
	return true
}

// carrier is F: the carrier's verdict on a returned bill.
func (j *judging) carrier() bool {
	v := j.b.Verdict
	if v == nil {
		return true
	}
	what := "the carrier's verdict"
	p, trusted := j.o.Trust.Find(j.state.Issuing)
	if !trusted {
		return j.broken(Indeterminate, string(chain.PlatformNotTrusted), "", what, "there is no trust entry for %s", j.state.Issuing)
	}
	j.Path = "$.verdict"
	key, err := j.believe(v.JWS, p, v.Verdict.At)
	if err != nil {
		e, _ := errors.AsType[*envelope.SignatureError](err)
		if e.Reason != envelope.BadSignature {
			return j.broken(Indeterminate, string(e.Reason), e.Part, what, "%s", e.Detail)
		}
		return j.broken(Invalid, "badVerdict", e.Part, what, "%s", e.Detail)
	}
	switch {
	case v.Verdict.At.After(j.o.Now.Add(envelope.ClockSkew)):
		return j.broken(Invalid, "badVerdict", "time", what, "the verdict is dated more than 5 minutes ahead of %s", stamp(j.o.Now))
	case v.Verdict.At.Before(j.newest.Add(-envelope.ClockSkew)):
		return j.broken(Invalid, "badVerdict", "time", what, "the verdict is older than what it is about")
	}
	next, err := j.state.Conclude(v.Verdict)
	if err != nil {
		law, _ := errors.AsType[*chain.LawError](err)
		j.Law = string(law.Law)
		return j.broken(Invalid, string(chain.Unlawful), string(law.Law), what, "%s", law.Detail)
	}
	j.Path = ""
	j.state = next
	j.lapse(key, v.JWS.Raw)
	j.check(what, OK, fmt.Sprintf("%s, signed by %s, key %s", v.Verdict.Kind, p.Domain, key.ID))
	return true
}

// maker looks at the signature of whoever made the file. No verdict depends on it.
func (j *judging) maker() {
	m := &Made{By: j.b.Made.By.String(), At: stamp(j.b.Made.At), Selection: string(j.b.Made.Selection), Signature: "good"}
	j.Made = m
	detail, result := "made by "+m.By, OK
	p, trusted := j.o.Trust.Find(j.b.Made.By)
	switch {
	case j.b.Signature == "":
		m.Signature, detail, result = "none", "the file is not signed by its maker; what parties signed does not need that", Info
	case !trusted:
		m.Signature, detail, result = "unknown", "there is no trust entry for "+m.By, Unjudged
	default:
		err := j.b.OpenSignature(p, j.o.Now)
		if e, ok := errors.AsType[*envelope.SignatureError](err); ok && e.Reason != envelope.BadSignature {
			m.Signature, detail, result = "unknown", e.Detail, Unjudged
		} else if err != nil {
			m.Signature, detail, result = "bad", "the file is not as "+m.By+" made it: "+err.Error(), Info
		}
	}
	j.check("the maker's signature", result, detail)
}

// compare says where trust entries of the maker differ from the reader's own. They are compared as
// texts and not read: to read one is to follow the paths of its certificates, and a forger can write
// some that take hours.
func (j *judging) compare() {
	for _, text := range j.b.Trust {
		if j.stopped() {
			j.check("the maker's trust entries", Info, "the time is over; they are not used")
			return
		}
		j.Checks = append(j.Checks, j.o.Memory.comparison(j.o.Trust, text))
	}
}

// entryText is a trust entry in RFC 8785 form, and of whom it is; "" where it is none.
func entryText(text []byte) (identity.Host, string) {
	var w struct {
		Domain string `json:"domain"`
	}
	if len(text) > identity.MaxTrustSize || json.Unmarshal(text, &w) != nil {
		return identity.Host{}, ""
	}
	domain, err := identity.ParseHost(w.Domain)
	if err != nil {
		return identity.Host{}, ""
	}
	form, err := envelope.Canonicalize(text)
	if err != nil {
		return identity.Host{}, ""
	}
	return domain, string(form)
}
