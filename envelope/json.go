package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"eblnode/identity"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep JSON may nest unless Limits say otherwise: the root is 1,
// and a JWS payload counts from its own root.
const MaxDepth = 64

// decode reads data into v, strictly: one value, no duplicate member names at
// any depth, names compared exactly, valid UTF-8 without lone surrogates, no byte
// order mark, at most depth levels. encoding/json is not used: it folds case,
// keeps the last duplicate and mends bad UTF-8, and each is a way to show two
// platforms two different documents under one signature.
func decode(data []byte, v any, depth int) *FormatError {
	if err := checkDepth(data, depth); err != nil {
		return err
	}
	return reread(data, v)
}

// reread is decode for a part of a text whose depth was checked as a whole: a limit
// that counts from the root must not be applied again to what lies below it.
func reread(data []byte, v any) *FormatError {
	if len(data) < largeText {
		if err := json.Unmarshal(data, v); err != nil {
			return jsonError(err)
		}
		return nil
	}
	if err := json.Unmarshal(data, v, jsontext.AllowDuplicateNames(true)); err != nil {
		return jsonError(err)
	}
	if at := twice(data); at > 0 {
		return malformed("duplicateName", "$", "a member name occurs twice in one object, the second time before byte %d", at)
	}
	return nil
}

// checkDepth runs before the parser, so that a body of brackets costs one scan.
func checkDepth(data []byte, depth int) *FormatError {
	level := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i = afterString(data, i+1) - 1
		case '{', '[':
			if level++; level > depth {
				return tooDeep(depth)
			}
		case '}', ']':
			level--
		}
	}
	return nil
}

func tooDeep(depth int) *FormatError {
	return &FormatError{Rule: "limit", Path: "$", Limit: "depth", Detail: fmt.Sprintf("JSON nests deeper than %d levels", depth)}
}

// tooWide reports whether an array at that level (the root is 1) has more than most
// elements. It runs before the parser, which takes fifty bytes of memory for each element
// of two.
func tooWide(data []byte, level, most int) bool {
	at, inArray, count := 0, false, 0
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case '"':
			i = afterString(data, i+1) - 1
		case '{', '[':
			if at++; at == level {
				inArray, count = c == '[', 1
			}
		case '}', ']':
			at--
		case ',':
			if at == level && inArray {
				if count++; count > most {
					return true
				}
			}
		}
	}
	return false
}

// jsonError turns the library's error into ours: the place, and what was wrong
// there, without any text of the input.
func jsonError(err error) *FormatError {
	if syn, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		rule, detail := syntaxDetail(syn.Err, syn.ByteOffset)
		return malformed(rule, jsonPath(syn.JSONPointer), "%s", detail)
	}
	if sem, ok := errors.AsType[*json.SemanticError](err); ok {
		switch is := sem.GoType; {
		case sem.JSONKind == '"' && is == reflect.TypeFor[Hash]():
			return malformed("hash", jsonPath(sem.JSONPointer), "not 64 lower-case hex digits")
		case sem.JSONKind == '"' && is == reflect.TypeFor[identity.Host]():
			return malformed("host", jsonPath(sem.JSONPointer), "not a domain")
		case sem.JSONKind != 0:
			return malformed("type", jsonPath(sem.JSONPointer), "%s is not of the type that belongs here", kindName(sem.JSONKind))
		case sem.Err != nil:
			return malformed("type", jsonPath(sem.JSONPointer), "%s", sem.Err)
		}
		return malformed("type", jsonPath(sem.JSONPointer), "a value is not of the type that belongs here")
	}
	return malformed("json", "$", "not JSON: the text ends too early or is no value")
}

func syntaxDetail(err error, offset int64) (rule, detail string) {
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "duplicateName", "a member name occurs twice in one object"
	case err == nil:
		return "json", fmt.Sprintf("not JSON at byte %d", offset)
	case strings.Contains(err.Error(), "UTF-8"):
		return "utf8", fmt.Sprintf("not valid UTF-8 at byte %d", offset)
	case strings.Contains(err.Error(), "unexpected EOF"):
		return "json", "not JSON: the text ends too early"
	case strings.Contains(err.Error(), "surrogate"):
		return "utf8", fmt.Sprintf("a lone surrogate at byte %d", offset)
	}
	return "json", fmt.Sprintf("not JSON at byte %d", offset)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{', '}':
		return "an object"
	}
	return "an array"
}

// jsonPath writes a JSON pointer as a JSONPath. Names that are not plain words
// are cut out, since they are the sender's text.
func jsonPath(p jsontext.Pointer) string {
	var b strings.Builder
	b.WriteByte('$')
	for tok := range p.Tokens() {
		if _, err := strconv.ParseUint(tok, 10, 31); err == nil {
			b.WriteString("[" + tok + "]")
			continue
		}
		plain := len(tok) > 0 && len(tok) <= 64
		for i := 0; i < len(tok) && plain; i++ {
			c := tok[i]
			plain = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '#'
		}
		if !plain {
			b.WriteString("[…]")
			continue
		}
		b.WriteString("." + tok)
	}
	return b.String()
}

// CheckNumbers refuses a value that holds a number RFC 8785 would change in value:
// two different documents would have one hash. data must be valid JSON.
func CheckNumbers(data []byte) *FormatError {
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case c == '-' || '0' <= c && c <= '9':
			start := i
			for i < len(data) && strings.IndexByte("+-.eE0123456789", data[i]) >= 0 {
				i++
			}
			if !keepsValue(string(data[start:i])) {
				return malformed("number", "$", "the number at byte %d would not keep its value in RFC 8785 form (IEEE 754 double)", start)
			}
			i--
		}
	}
	return nil
}

// keepsValue reports whether the decimal value of the number's text equals that
// of its RFC 8785 text, which is the shortest text of the nearest double.
func keepsValue(text string) bool {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return false
	}
	digits, exp, ok := decimal(text)
	if !ok {
		return false
	}
	again, againExp, _ := decimal(strconv.FormatFloat(f, 'e', -1, 64))
	return digits == again && (digits == "" || exp == againExp)
}

// decimal splits a number into its significant digits, without zeros at either
// end and with the sign in front, and the power of ten of the last digit. Zero is
// the empty text. An exponent beyond ±100000 on a non-zero number is not ok.
func decimal(text string) (digits string, exp int, ok bool) {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	mantissa, e, hasExp := strings.Cut(strings.ToLower(text), "e")
	whole, frac, _ := strings.Cut(mantissa, ".")
	all := whole + frac
	trimmed := strings.TrimRight(all, "0")
	if strings.Trim(trimmed, "0") == "" {
		return "", 0, true
	}
	if hasExp {
		n, err := strconv.Atoi(e)
		if err != nil || n > 100000 || n < -100000 {
			return "", 0, false
		}
		exp = n
	}
	exp += len(all) - len(trimmed) - len(frac)
	return sign + strings.TrimLeft(trimmed, "0"), exp, true
}

// sameValue reports whether two valid JSON texts are the same value: members in
// any order, strings by their characters, numbers by their decimal value.
func sameValue(a, b jsontext.Value) bool {
	if len(a) >= largeText || len(b) >= largeText {
		sumA, _ := sumOf(a, exactNumber)
		sumB, _ := sumOf(b, exactNumber)
		return sumA == sumB
	}
	switch ka, kb := a.Kind(), b.Kind(); {
	case ka != kb:
		return false
	case string(trimJSON(a)) == string(trimJSON(b)):
		return true // also numbers too large for decimal
	case ka == '0':
		da, ea, oka := decimal(string(trimJSON(a)))
		db, eb, okb := decimal(string(trimJSON(b)))
		return oka && okb && da == db && (da == "" || ea == eb)
	case ka == '{':
		var ma, mb map[string]jsontext.Value
		if json.Unmarshal(a, &ma) != nil || json.Unmarshal(b, &mb) != nil || len(ma) != len(mb) {
			return false
		}
		for name, va := range ma {
			if vb, found := mb[name]; !found || !sameValue(va, vb) {
				return false
			}
		}
		return true
	case ka == '[':
		var la, lb []jsontext.Value
		if json.Unmarshal(a, &la) != nil || json.Unmarshal(b, &lb) != nil || len(la) != len(lb) {
			return false
		}
		for i := range la {
			if !sameValue(la[i], lb[i]) {
				return false
			}
		}
		return true
	case ka == '"':
		var sa, sb string
		return json.Unmarshal(a, &sa) == nil && json.Unmarshal(b, &sb) == nil && sa == sb
	}
	return false
}

func trimJSON(v jsontext.Value) []byte {
	return bytes.Trim(v, " \t\r\n")
}

// marshal writes JSON; names of maps come out in any order, so canonicalize after it.
func marshal(v any) ([]byte, error) { return json.Marshal(v) }
