package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// attacks tries to get a bill twice, or for nothing. Each goes over the wire; before and
// after, all three nodes are asked who is in control and what the head is.
func (r *run) attacks(ctx context.Context) bool {
	r.title("attacks, on a second bill that lies with the bank")
	return r.stage("step", "a second bill goes to the bank", func() error { return r.secondBill(ctx) }) &&
		r.attack(ctx, "a tampered envelope", r.tampered) &&
		r.attack(ctx, "a second transfer of the same bill", r.secondTransfer) &&
		r.attack(ctx, "a signature by the wrong platform", r.wrongPlatform) &&
		r.attack(ctx, "a receipt from the wrong key", r.wrongReceipt) &&
		r.stage("step", "the thief is gone: the transfer in doubt ends by itself", func() error { return r.recovered(ctx) }) &&
		r.attack(ctx, "a TXT record that points elsewhere", r.poisonedDNS) &&
		r.attack(ctx, "a replay after the bill moved on", r.replay)
}

// attack runs one attack and compares the standing of both bills before and after.
func (r *run) attack(ctx context.Context, name string, f func(context.Context) error) bool {
	return r.stage("attack", name, func() error {
		before, err := r.standings(ctx)
		if err != nil {
			return err
		}
		if err := f(ctx); err != nil {
			return err
		}
		after, err := r.standings(ctx)
		if err != nil {
			return err
		}
		if before != after {
			return unexpected("something moved:\nbefore\n%safter\n%s", before, after)
		}
		r.note("owner and head on all three nodes: as before")
		return nil
	})
}

func (r *run) standings(ctx context.Context) (string, error) {
	one, err := r.net.standing(ctx, r.hash)
	if err != nil {
		return "", err
	}
	two, err := r.net.standing(ctx, r.second)
	return one + two, err
}

func (r *run) secondBill(ctx context.Context) error {
	other := bytes.Replace(document, []byte("NLNE26110472"), []byte("NLNE26110473"), 1)
	c := r.net.carrier
	b, err := c.order(ctx, "carrier", "/api/v1/ebls", map[string]any{"document": json.RawMessage(other), "to": "shipper@carrier.example"})
	if err != nil {
		return err
	}
	r.second = b.DocumentHash
	if b, err = c.order(ctx, "shipper", "/api/v1/ebls/"+r.second+"/transfer", map[string]any{"to": "lc-desk@bank.example"}); err != nil {
		return err
	}
	if b.Transfer == nil || b.Transfer.State != "accepted" {
		return unexpected("the transfer is not accepted: %s", b.Reason)
	}
	r.note("document hash %s", r.second)
	return r.only(ctx, r.second, r.net.bank)
}

// block is the second bill as it stands, to be changed.
func (r *run) block(ctx context.Context) (*envelope.Transferblock, error) {
	body, err := r.net.bank.call(ctx, "auditor", http.MethodGet, "/api/v1/ebls/"+r.second+"/chain", nil)
	if err != nil {
		return nil, err
	}
	return envelope.Parse(body, envelope.Limits{})
}

// seal signs an envelope as platform by, with a platformHost that may be another's.
func seal(b *envelope.Transferblock, by *platform, host identity.Host, previous envelope.Hash, moves ...[2]string) (envelope.Entry, error) {
	s, err := by.signer()
	if err != nil {
		return envelope.Entry{}, err
	}
	doc, err := b.DocumentHash(nil)
	if err != nil {
		return envelope.Entry{}, err
	}
	var txs [][]byte
	for _, m := range moves {
		tx, err := envelope.NewTransaction(envelope.Transaction{Instruction: envelope.Instruction(m[0]), At: time.Now(), ToOrder: true, PlatformHost: host},
			[]byte(`"`+m[1]+`"`))
		if err != nil {
			return envelope.Entry{}, err
		}
		txs = append(txs, tx)
	}
	return envelope.Seal(doc, previous, txs, s)
}

// refused sends a block as platform as to platform to, and checks the refusal: its code
// and text, and where it must be signed, the signature, the hash, the bytes and both names.
func (r *run) refused(ctx context.Context, to, as *platform, b *envelope.Transferblock, code int, text string) error {
	status, answer, err := to.putAs(ctx, as, b.Marshal(false))
	if err != nil {
		return err
	}
	got := refusalOf(status, answer)
	if got.Code != code || got.Text != text {
		return unexpected("%s answered %s, not %d %s", to.domain, got, code, text)
	}
	signed := "not signed: nothing was decided"
	if code > 8000 {
		var e struct {
			Rejection string `json:"rejectionSignedContent"`
		}
		if err := json.Unmarshal(answer, &e); err != nil {
			return err
		}
		rej, err := envelope.OpenRejection(e.Rejection, to.self, time.Now())
		if err != nil {
			return unexpected("the rejection is not signed by %s: %s", to.domain, err)
		}
		if !rej.Answers(b.Last(), as.self.Domain, to.self.Domain) {
			return unexpected("the rejection is about something else")
		}
		signed = "signed " + string(rej.Code)
	}
	r.note("%s: %d, %d %s (%s)", to.domain, status, got.Code, got.Text, signed)
	r.note("  “%s”", got.Detail)
	return nil
}

func (r *run) tampered(ctx context.Context) error {
	bank, consignee := r.net.bank, r.net.consignee
	b, err := r.block(ctx)
	if err != nil {
		return err
	}
	e0 := b.Entries[0]
	e1, err := seal(b, bank, bank.self.Domain, e0.Claimed, [2]string{"TRNS", "lc-desk@consignee.example"})
	if err != nil {
		return err
	}
	r.note("the bank's envelope, with the transferee changed after signing")
	changed, err := rewrite(e1, "lc-desk@consignee.example", "buyer@consignee.example")
	if err != nil {
		return err
	}
	b.Entries = []envelope.Entry{e0, changed}
	if err := r.refused(ctx, consignee, bank, b, 8001, "badSignature"); err != nil {
		return err
	}
	r.note("the carrier's envelope below it changed instead, and the chain linked and signed anew")
	forged, err := rewrite(e0, "shipper@carrier.example", "shippers@carrier.example")
	if err != nil {
		return err
	}
	e1, err = seal(b, bank, bank.self.Domain, forged.Claimed, [2]string{"TRNS", "buyer@consignee.example"})
	if err != nil {
		return err
	}
	b.Entries = []envelope.Entry{forged, e1}
	return r.refused(ctx, consignee, bank, b, 8002, "badChainSignature")
}

// rewrite changes the payload of a signed envelope and keeps the signature.
func rewrite(e envelope.Entry, from, to string) (envelope.Entry, error) {
	payload := bytes.Replace(e.JWS.Payload, []byte(from), []byte(to), 1)
	if bytes.Equal(payload, e.JWS.Payload) {
		return e, errors.New("there was nothing to change")
	}
	parts := strings.Split(e.JWS.Raw, ".")
	parts[1] = base64.RawURLEncoding.EncodeToString(payload)
	return envelope.ParseEntry(strings.Join(parts, "."), envelope.Limits{})
}

func (r *run) secondTransfer(ctx context.Context) error {
	carrier, bank := r.net.carrier, r.net.bank
	_, err := carrier.order(ctx, "shipper", "/api/v1/ebls/"+r.second+"/transfer", map[string]any{"to": "buyer@consignee.example"})
	no, ok := err.(*refusal)
	if !ok || no.Status != http.StatusConflict || no.Text != "unlawful/notInControl" {
		return unexpected("the shipper's second order ended with %v", err)
	}
	r.note("the shipper orders it again: %d, %d %s", no.Status, no.Code, no.Text)
	r.note("the carrier's platform signs another continuation, to another desk of the bank, and sends it")
	b, err := r.block(ctx)
	if err != nil {
		return err
	}
	fork, err := seal(b, carrier, carrier.self.Domain, envelope.Hash{}, [2]string{"ISSU", "shipper@carrier.example"}, [2]string{"TRNS", "second-desk@bank.example"})
	if err != nil {
		return err
	}
	b.Entries = []envelope.Entry{fork}
	return r.refused(ctx, bank, carrier, b, 8003, "forked")
}

func (r *run) wrongPlatform(ctx context.Context) error {
	carrier, bank, consignee := r.net.carrier, r.net.bank, r.net.consignee
	b, err := r.block(ctx)
	if err != nil {
		return err
	}
	e0 := b.Entries[0]
	for _, try := range []struct {
		host identity.Host
		what string
		code int
		text string
	}{
		{bank.self.Domain, "the consignee's platform signs for the bank", 7103, "signerMismatch"},
		{consignee.self.Domain, "the consignee's platform signs for itself, and was never in control", 8002, "unlawful/notInControl"},
	} {
		e1, err := seal(b, consignee, try.host, e0.Claimed, [2]string{"TRNS", "shipper@carrier.example"})
		if err != nil {
			return err
		}
		r.note("%s", try.what)
		b.Entries = []envelope.Entry{e0, e1}
		if err := r.refused(ctx, carrier, consignee, b, try.code, try.text); err != nil {
			return err
		}
	}
	return nil
}

// wrongReceipt is a thief who has the carrier's TLS key, but not its signing key, and
// DNS: the bank's transfer reaches it, and it says thank you.
func (r *run) wrongReceipt(ctx context.Context) error {
	carrier, bank := r.net.carrier, r.net.bank
	var err error
	if r.thief, err = newThief(carrier); err != nil {
		return err
	}
	r.net.publish(carrier, r.thief.addr())
	defer r.net.publish(carrier, carrier.peer)
	before, err := bank.bill(ctx, "auditor", r.second)
	if err != nil {
		return err
	}
	if _, err := bank.order(ctx, "lc-desk", "/api/v1/ebls/"+r.second+"/transfer?wait=0", map[string]any{"to": "shipper@carrier.example"}); err != nil {
		return err
	}
	b, err := bank.await(ctx, r.second, func(b *bill) bool { return b.Transfer != nil && b.Transfer.Attempts > 0 })
	if err != nil {
		return err
	}
	if !b.Transfer.InDoubt || b.Control != "locked" || b.Possessor != before.Possessor || b.Head != before.Head {
		return unexpected("the bank believed it: %+v", b)
	}
	r.note("the bank's transfer reached a thief with the carrier's TLS key, who signed a receipt with another key")
	r.note("the bank does not believe it: the transfer is in doubt, the bill locked, possessor and head as before")
	r.note("  “%s”", short(b.Transfer.LastAnswer, 150))
	return r.only(ctx, r.second, nil)
}

// recovered is what follows: the transfer in doubt ends by the rightful receipt.
func (r *run) recovered(ctx context.Context) error {
	r.thief.stepAside()
	b, err := r.net.bank.await(ctx, r.second, func(b *bill) bool { return b.Control != "locked" })
	if err != nil {
		return err
	}
	if b.Transfer.State != "accepted" {
		return unexpected("after the thief was gone the transfer is %s", b.Transfer.State)
	}
	r.note("the same bytes were sent again (attempt %d) and the carrier's own receipt came: %s", b.Transfer.Attempts, short(b.Transfer.Verdict, 48))
	return r.only(ctx, r.second, r.net.carrier)
}

func (r *run) poisonedDNS(ctx context.Context) error {
	carrier := r.net.carrier
	thief, err := newStranger("consignee.example")
	if err != nil {
		return err
	}
	defer thief.close()
	r.net.publish(r.net.consignee, thief.addr())
	defer r.net.publish(r.net.consignee, r.net.consignee.peer)
	_, err = carrier.order(ctx, "shipper", "/api/v1/ebls/"+r.second+"/transfer", map[string]any{"to": "buyer@consignee.example"})
	no, ok := err.(*refusal)
	if !ok || no.Text != "peerNotReady" {
		return unexpected("the order ended with %v", err)
	}
	if thief.requests() > 0 {
		return unexpected("the thief read %d requests", thief.requests())
	}
	r.note("DNS says that consignee.example is at a thief's, who has a certificate of his own for that name")
	r.note("carrier.example: %d, %d %s; connections made: %d, bytes of a request sent: 0", no.Status, no.Code, no.Text, thief.connections())
	r.note("  “%s”", short(no.Detail, 150))
	if err := r.only(ctx, r.second, carrier); err != nil {
		return err
	}
	r.note("nothing was sealed: the bill is free to go elsewhere")
	return nil
}

func (r *run) replay(ctx context.Context) error {
	carrier, bank := r.net.carrier, r.net.bank
	status, answer, err := bank.putAs(ctx, carrier, r.blocks[carrier.domain])
	if err != nil {
		return err
	}
	if status != http.StatusOK || string(answer) != r.receipt {
		return unexpected("the bank answered %d %s", status, short(string(answer), 80))
	}
	r.note("the first bill's first block, sent again by the carrier: the bank gives its old receipt, byte for byte")
	return nil
}
