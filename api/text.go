package api

import "strings"

// clip shows a stranger's text to people: printable characters, everything else
// as a dot, and at most max of them.
func clip(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == most {
			b.WriteString("…")
			break
		}
		if r < ' ' || r > '~' {
			r = '.'
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
