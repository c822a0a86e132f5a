// Package identity says who is who: platforms and their hosts, users as
// localid@domain identifiers, parties, keys and certificates with their policy,
// trust entries, and signers.
//
// A platform is its domain (a [Host]). What we believe of it stands in its trust
// entry (a [Platform]); all entries together are a [Trust], an immutable value
// that the node swaps whole when an entry changes. Keys come from there and from
// nowhere else: a message may narrow the choice among them, never widen it.
//
// The package does no I/O and reads no clock; whoever asks brings the time.
package identity

import (
	"fmt"
	"strings"
)

// An Identifier names a user of a platform, "localid@domain[:port]" (2022 text,
// "eBLPlatformIdentifier"). It is comparable; two identifiers name the same user
// when Local is equal byte for byte and both hosts belong to one platform, so
// compare through [Trust.Name].
type Identifier struct {
	Local string // an RFC 5322 dot-atom of 1 to 128 characters; case kept
	Host  Host
}

const maxLocal = 128 // bytes; a dot-atom is ASCII

// ParseIdentifier reads "localid@domain[:port]".
func ParseIdentifier(s string) (Identifier, error) {
	// Before s is shown in an error.
	if len(s) > maxLocal+1+maxHostText {
		return Identifier{}, fmt.Errorf("identifier %q: %d bytes, more than %d", clip(s), len(s), maxLocal+1+maxHostText)
	}
	local, host, found := strings.Cut(s, "@")
	if !found {
		return Identifier{}, fmt.Errorf("identifier %q: no @", s)
	}
	if err := checkLocal(local); err != nil {
		return Identifier{}, fmt.Errorf("identifier %q: %w", s, err)
	}
	h, err := ParseHost(host)
	if err != nil {
		return Identifier{}, fmt.Errorf("identifier %q: %w", s, err)
	}
	return Identifier{Local: local, Host: h}, nil
}

// CheckLocal says whether s can stand before the @ of an identifier.
func CheckLocal(s string) error {
	if err := checkLocal(s); err != nil {
		return fmt.Errorf("local id %q: %w", clip(s), err)
	}
	return nil
}

func checkLocal(s string) error {
	if len(s) < 1 || len(s) > maxLocal {
		return fmt.Errorf("the local id has %d bytes, not 1 to %d", len(s), maxLocal)
	}
	for _, atom := range strings.Split(s, ".") {
		if atom == "" {
			return fmt.Errorf("the local id has an empty part between dots")
		}
		for i := 0; i < len(atom); i++ {
			if c := atom[i]; !isAtext(c) {
				return fmt.Errorf("the local id has the character %q", rune(c))
			}
		}
	}
	return nil
}

// isAtext is RFC 5322, section 3.2.3.
func isAtext(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// String is the form that ParseIdentifier reads back to the same Identifier.
func (i Identifier) String() string { return i.Local + "@" + i.Host.String() }

// IsZero reports whether i names nobody.
func (i Identifier) IsZero() bool { return i == Identifier{} }

// MarshalText is String.
func (i Identifier) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText is ParseIdentifier.
func (i *Identifier) UnmarshalText(b []byte) (err error) {
	*i, err = ParseIdentifier(string(b))
	return err
}

// An IdentifyingCode is one entry of a Party's identifyingCodes: a code under
// the agency or code list that gives it out (LEI, DID, SMDG …).
type IdentifyingCode struct {
	Provider string // codeListProvider, or the older DCSAResponsibleAgencyCode
	Code     string // partyCode
	List     string // codeListName, empty where the list has no name
}

// A Party is the transferee of a transaction: its identifier and what else the
// sender told of it. Only ID decides who is in control; the rest lets the
// receiver notice a mistaken address.
type Party struct {
	ID            Identifier
	Name          string // partyName
	Codes         []IdentifyingCode
	TaxReference1 string
	TaxReference2 string
}
