package envelope

import "fmt"

// Limits bound what Parse takes. A zero field means the default, which for the first four
// is that of the wire document, section 1. The last two are ours: members and values cost
// memory many times their bytes, so that one body could take 200 MiB.
type Limits struct {
	Body         int // bytes; default 8 MiB
	Chain        int // entries; default 1,000
	Transactions int // of one entry; default 1,000
	Depth        int // levels of JSON; default 64
	Members      int // of one JSON object; default 10,000
	Values       int // of one JSON text, whatever their kind; a payload counts by itself; default 500,000
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		p *int
		d int
	}{{&l.Body, 8 << 20}, {&l.Chain, 1000}, {&l.Transactions, 1000}, {&l.Depth, MaxDepth}, {&l.Members, 10_000}, {&l.Values, 500_000}} {
		if *f.p <= 0 {
			*f.p = f.d
		}
	}
	return l
}

// BodyLimit is the largest body that l allows, in bytes.
func (l Limits) BodyLimit() int { return l.withDefaults().Body }

// ChainLimit is how many entries a chain may have.
func (l Limits) ChainLimit() int { return l.withDefaults().Chain }

// TransactionsLimit is how many transactions an entry may have.
func (l Limits) TransactionsLimit() int { return l.withDefaults().Transactions }

// CheckWidth says whether a JSON text has more members in an object, or more values, than l
// allows. It may run before any other check, on anything. The error is a *FormatError.
func (l Limits) CheckWidth(text []byte) error {
	if err := checkWidth(text, l.withDefaults()); err != nil {
		return err
	}
	return nil
}

// checkWidth bounds the members of each object and the values of the whole. It runs before the
// parser, which keeps every name of an object that is open, to find the second of two: 8 MiB of
// short names took it 160 MiB, and their canonical form 700. What nests too deep is refused
// here too, since nothing behind it is counted.
func checkWidth(data []byte, l Limits) *FormatError {
	if len(data) < 2*l.Values && len(data) < len(`"":0,`)*l.Members {
		return nil // no text so short has so many
	}
	type container struct {
		object, some bool
		commas       int
	}
	over := func(limit string, most int, of string) *FormatError {
		return &FormatError{Rule: "limit", Path: "$", Limit: limit, Detail: fmt.Sprintf("more than %d %s", most, of)}
	}
	var open []container
	values, in := 1, container{}
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '}', ']':
			if len(open) == 0 {
				return nil // the parser says what is wrong
			}
			in, open = open[len(open)-1], open[:len(open)-1]
			continue
		case ',':
			values++
			in.commas++
		default:
			if !in.some && len(open) > 0 {
				in.some = true
				values++
			}
		}
		switch c {
		case '"':
			i = afterString(data, i+1) - 1
		case '{', '[':
			if len(open) >= l.Depth {
				return tooDeep(l.Depth)
			}
			open, in = append(open, in), container{object: c == '{'}
		}
		if in.object && in.commas >= l.Members {
			return over("members", l.Members, "members in one object")
		}
		if values > l.Values {
			return over("values", l.Values, "values in one text")
		}
	}
	return nil
}
