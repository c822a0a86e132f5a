package judge_test

import (
	"encoding/json"
	"strings"
	"testing"

	"eblnode/judge"
)

// TestPlain: what a file may not draw, and what a name may be written with.
func TestPlain(t *testing.T) {
	pile := strings.Repeat("\u0301", 300)
	for in, want := range map[string]string{
		"Møller & Sønner": "Møller & Sønner",
		"تاجر ยี่ห้อ नमस्ते ế":         "تاجر ยี่ห้อ नमस्ते ế",
		"a\u202eb\u2066c\x1b[2J\x7f\n": `a\u202eb\u2066c\u001b[2J\u007f\u000a`,
		"a\xffb\ue000":                 `a\ufffdb\ue000`,
		"\u3164\u115f\u034f\ufe0f":     `\u3164\u115f\u034f\ufe0f`,
		"\u2800\u2801":                 `\u2800` + "\u2801",
		"\U000e0041\U000e0101":         `\u{e0041}\u{e0101}`,
		"x" + pile:                     "x" + pile[:8] + strings.Repeat(`\u0301`, 296),
	} {
		if got := judge.Plain(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var was, is string
		out := judge.PlainJSON(text)
		if json.Unmarshal(text, &was) != nil || json.Unmarshal(out, &is) != nil || was != is {
			t.Errorf("%q: as JSON %s, which reads as %q", in, out, is)
		}
		if got := judge.Plain(string(out)); got != string(out) {
			t.Errorf("%q: as JSON %s, which still draws", in, out)
		}
	}
}
