// Package page makes the page in which a person drops a bundle and a trust file and sees
// the verdict: one HTML file that loads nothing, works from a file, and sends nothing
// anywhere. Its verdict is package judge, compiled to WebAssembly and carried in it.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"

	"eblnode/internal/report"
)

//go:embed page.html.tmpl
var source string

//go:embed page.js
var script string

//go:embed page.css
var style string

// Package is the import path of the program that the page carries; build it with
// GOOS=js GOARCH=wasm.
const Package = "eblnode/internal/page/wasm"

// Make puts the page together: the program as WebAssembly, and wasm_exec.js of the Go that
// built it, from lib/wasm in its GOROOT.
func Make(wasm, wasmExec []byte, version string) ([]byte, error) {
	if !bytes.HasPrefix(wasm, []byte("\x00asm")) {
		return nil, fmt.Errorf("making the page: the program is not WebAssembly")
	}
	if bytes.Contains(wasmExec, []byte("</script")) {
		return nil, fmt.Errorf("making the page: wasm_exec.js would end its own element")
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(wasm); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	sum := func(text string) string {
		h := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(h[:]) + "'"
	}
	all := report.Style() + style
	// Only these two scripts run, whatever a file may hold; nothing is loaded or sent.
	policy := fmt.Sprintf("default-src 'none'; script-src %s %s 'wasm-unsafe-eval'; style-src %s; base-uri 'none'; form-action 'none'", sum(string(wasmExec)), sum(script), sum(all))
	t, err := template.New("page").Parse(source)
	if err != nil {
		return nil, fmt.Errorf("making the page: %w", err)
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{"Policy": policy, "Style": template.CSS(all), "Version": version,
		"Exec": template.HTML("<script>" + string(wasmExec) + "</script>"), "Script": template.HTML("<script>" + script + "</script>"),
		"Program": template.HTML(`<script type="application/octet-stream" id="program">` + base64.StdEncoding.EncodeToString(packed.Bytes()) + "</script>")})
	if err != nil {
		return nil, fmt.Errorf("making the page: %w", err)
	}
	return out.Bytes(), nil
}
