package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// billView is what the local API says of a bill, as far as we look.
type billView struct {
	Document  string        `json:"documentHash"`
	Status    string        `json:"status"`
	Control   string        `json:"control"`
	Possessor string        `json:"possessor"`
	Returned  string        `json:"returnedBy"`
	Entries   int           `json:"chainLength"`
	Reason    string        `json:"reason"`
	Transfer  *transferView `json:"transfer"`
}

// transferView is what it says of a transfer.
type transferView struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Peer     string `json:"peer"`
	Envelope string `json:"envelopeHash"`
	Verdict  string `json:"verdict"`
	Settled  string `json:"settledBy"`
}

type operation struct {
	Bill     billView      `json:"bill"`
	Transfer *transferView `json:"transfer"`
}

// A refusal is what a node said no with. Anything else that goes wrong with a call means
// that nobody knows what came of it.
type refusal struct {
	status int
	text   string
	detail string
}

func (e *refusal) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.text, e.detail) }

// users is the client of all local calls. It keeps no connection that a kill has ended.
var users = &http.Client{Timeout: 75 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second}}

// call makes one call with JSON in and out; a *refusal where the node answered no.
func call(ctx context.Context, client *http.Client, method, url, token string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return refusalOf(resp.StatusCode, text)
	}
	return json.Unmarshal(text, out)
}

func refusalOf(status int, text []byte) error {
	var e struct {
		Errors []struct {
			Text    string `json:"errorCodeText"`
			Message string `json:"errorCodeMessage"`
		} `json:"errors"`
	}
	r := &refusal{status: status, text: "no ErrorResponse"}
	if json.Unmarshal(text, &e) == nil && len(e.Errors) > 0 {
		r.text, r.detail = e.Errors[0].Text, e.Errors[0].Message
	}
	return r
}

// as calls the local API of n as one of its users.
func (n *node) as(ctx context.Context, user, method, path string, in, out any) error {
	local, _ := n.local.Load().(string)
	return call(ctx, users, method, "http://"+local+path, n.tokens[user], in, out)
}
