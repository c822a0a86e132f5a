//go:build js && wasm

// Wasm is the verdict logic of eblverify for its page in a browser: one function, which
// the page calls with the bytes of files that a person dropped. It reads and asks nothing
// else.
package main

import (
	"encoding/json"
	"fmt"
	"syscall/js"
	"time"

	"eblnode/identity"
	"eblnode/internal/report"
	"eblnode/judge"
)

// Version is set when the page is made.
var Version = "dev"

func main() {
	js.Global().Set("eblverify", js.FuncOf(func(_ js.Value, args []js.Value) any {
		out, err := verify(args)
		if err != nil {
			return map[string]any{"error": judge.Plain(err.Error())}
		}
		return out
	}))
	select {}
}

// verify takes the texts of trust files, a file's name and bytes, and the time to judge
// for (RFC 3339, "" is now), and gives verdict, JSON, the report's content, and the report
// as a file.
func verify(args []js.Value) (map[string]any, error) {
	if len(args) != 4 {
		return nil, fmt.Errorf("four arguments are needed")
	}
	var all []*identity.Platform
	for i := range args[0].Length() {
		ps, err := identity.ParseTrust([]byte(args[0].Index(i).String()))
		if err != nil {
			return nil, fmt.Errorf("trust file: %w", err)
		}
		all = append(all, ps...)
	}
	trust, err := identity.NewTrust(all...)
	if err != nil {
		return nil, fmt.Errorf("trust files: %w", err)
	}
	body := make([]byte, args[2].Length())
	js.CopyBytesToGo(body, args[2])
	at := time.Now()
	if s := args[3].String(); s != "" {
		if at, err = time.Parse(time.RFC3339, s); err != nil {
			return nil, fmt.Errorf("%q is not a time such as 2026-01-31T12:00:00Z", s)
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	r := judge.File(body, judge.Options{Trust: trust, Now: at, Journey: true, Stop: func() bool { return time.Now().After(deadline) }})
	r.File = args[1].String()
	in := report.Input{Report: r, Trust: trust, At: at, Maker: "eblverify " + Version + ", in a browser"}
	content, err := report.Fragment(in)
	if err != nil {
		return nil, err
	}
	file, err := report.HTML(in)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"verdict": string(r.Verdict), "json": string(judge.PlainJSON(text)), "content": string(content), "file": string(file)}, nil
}
