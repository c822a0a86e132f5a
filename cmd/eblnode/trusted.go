package main

import (
	"fmt"
	"strings"

	"eblnode/identity"
)

// trusted says, for an operator who is to confirm an entry, why its signatures will count.
func trusted(p *identity.Platform) string {
	if p.Mode != identity.ModeCA {
		return fmt.Sprintf("%d listed", len(p.Keys))
	}
	var names []string
	for _, c := range p.Anchors {
		names = append(names, plain(c.Subject.String())+" ("+identity.PinText(identity.SPKIPin(c))+")")
	}
	text := "any that is certified by " + strings.Join(names, ", ")
	if len(p.Keys) > 0 {
		text += fmt.Sprintf("; %d listed", len(p.Keys))
	}
	return text
}
