package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// bill is what the local API says of a bill, as far as the demonstration looks.
type bill struct {
	DocumentHash string `json:"documentHash"`
	Status       string `json:"status"`
	Control      string `json:"control"`
	Possessor    string `json:"possessor"`
	Head         string `json:"headEnvelopeHash"`
	Length       int    `json:"chainLength"`
	Reason       string `json:"reason"`
	Verdict      string `json:"verdict"`
	Transfer     *struct {
		ID         string `json:"id"`
		State      string `json:"state"`
		InDoubt    bool   `json:"inDoubt"`
		Attempts   int    `json:"attempts"`
		LastAnswer string `json:"lastAnswer"`
		Verdict    string `json:"verdict"`
	} `json:"transfer"`
}

// A refusal is what the local API said no with.
type refusal struct {
	Status int
	Code   int
	Text   string
	Detail string
}

func (e *refusal) Error() string {
	return fmt.Sprintf("%d %d %s: %s", e.Status, e.Code, e.Text, e.Detail)
}

// call sends a request to the local API of p as one of its users.
func (p *platform) call(ctx context.Context, user, method, path string, in any) ([]byte, error) {
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.local+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.tokens[user])
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode < 300 {
		return text, err
	}
	return nil, refusalOf(resp.StatusCode, text)
}

// refusalOf reads an ErrorResponse.
func refusalOf(status int, text []byte) *refusal {
	var e struct {
		Errors []struct {
			Code    int    `json:"errorCode"`
			Text    string `json:"errorCodeText"`
			Message string `json:"errorCodeMessage"`
		} `json:"errors"`
	}
	r := &refusal{Status: status, Text: "no ErrorResponse"}
	if json.Unmarshal(text, &e) == nil && len(e.Errors) > 0 {
		r.Code, r.Text, r.Detail = e.Errors[0].Code, e.Errors[0].Text, e.Errors[0].Message
	}
	return r
}

// order gives an order and returns the bill after it.
func (p *platform) order(ctx context.Context, user, path string, in any) (*bill, error) {
	text, err := p.call(ctx, user, http.MethodPost, path, in)
	if err != nil {
		return nil, err
	}
	var out struct {
		Bill bill `json:"bill"`
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, err
	}
	return &out.Bill, nil
}

// bill reads a bill; nil where the platform does not know it.
func (p *platform) bill(ctx context.Context, user, hash string) (*bill, error) {
	text, err := p.call(ctx, user, http.MethodGet, "/api/v1/ebls/"+hash, nil)
	if r, ok := err.(*refusal); ok && r.Status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b := &bill{}
	return b, json.Unmarshal(text, b)
}

// await reads the bill until it is as wanted, for a minute at most.
func (p *platform) await(ctx context.Context, hash string, wanted func(*bill) bool) (*bill, error) {
	for range 3000 {
		b, err := p.bill(ctx, "auditor", hash)
		if err != nil {
			return nil, err
		}
		if b != nil && wanted(b) {
			return b, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil, unexpected("%s did not get there", p.domain)
}

// standing is who all three nodes say is in control of a bill, and its head.
func (n *network) standing(ctx context.Context, hash string) (string, error) {
	var all string
	for _, p := range n.all() {
		b, err := p.bill(ctx, "auditor", hash)
		switch {
		case err != nil:
			return "", err
		case b == nil:
			all += p.domain + ": unknown\n"
		default:
			all += fmt.Sprintf("%s: %s, possessor %s, head %s, %d entries\n", p.domain, b.Status, b.Possessor, b.Head, b.Length)
		}
	}
	return all, nil
}
