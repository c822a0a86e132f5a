package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An archived is a vector of a folder of archives: all its files, and what is wrong with it.
type archived struct {
	Comment string            `json:"comment"`
	Kind    string            `json:"kind"`
	Expect  string            `json:"expect"` // valid, indeterminate, invalid: the worst of what is found
	Rules   []string          `json:"rules"`  // all that is found, sorted, each once
	At      string            `json:"at"`
	Trust   string            `json:"trust"`
	Root    string            `json:"root,omitempty"` // the hash of a root that the reader kept
	Files   map[string]string `json:"files"`          // text by path; a path that ends in / is an empty folder
}

// A store is a folder of archives in the making.
type store struct {
	g     *generator
	files map[string]string
	roots []string // JWS
	sums  []string // of archives that no root names yet
}

func newStore(g *generator) *store { return &store{g: g, files: map[string]string{}} }

// archive adds an archive of that time, with two files.
func (s *store) archive(at string) *store {
	when := must(time.Parse(time.RFC3339, at))
	dir := when.Format("20060102T150405Z") + "/"
	var list []string
	for _, name := range []string{"one", "two"} {
		text := `{"format":"eblnode-bundle/1","of":"` + at + ` ` + name + `"}`
		s.files[dir+name+".json"] = text
		list = append(list, obj{{"name", quote(name + ".json")}, {"sha256", quote(sum(text))}}.String())
	}
	text := obj{{"format", `"eblnode-archive/1"`}, {"by", quote(carrier)}, {"at", quote(at)}, {"files", "[" + strings.Join(list, ",") + "]"}}.String()
	s.files[dir+"archive.json"] = text
	s.sums = append(s.sums, sum(text))
	return s
}

// sign adds the root of a day; edit changes the payload, and may change the header.
func (s *store) sign(day string, edit func(payload, header *obj)) *store {
	p := obj{}
	if len(s.sums) > 0 {
		p = p.with("archives", `["`+strings.Join(s.sums, `","`)+`"]`)
	}
	p = append(p, obj{{"day", quote(day)}, {"hash", quote(sum("log " + day))}, {"platform", quote(carrier)}}...)
	if n := len(s.roots); n > 0 {
		p = p.with("previous", quote(sum(s.roots[n-1])))
	}
	p = p.with("rows", `"7"`)
	signed := must(time.Parse(time.DateOnly, day)).Add(24*time.Hour + 5*time.Second)
	k := s.g.key("carrier-1")
	h := obj{{"alg", quote(k.alg)}, {"iat", strconv.FormatInt(signed.Unix(), 10)}, {"kid", quote(k.kid)}, {"typ", `"eblnode-root+jws"`}}
	if edit != nil {
		edit(&p, &h)
	}
	s.roots, s.sums = append(s.roots, compact(k, h, p.String())), nil
	return s
}

// write writes the roots.
func (s *store) write() *store {
	list := make([]string, len(s.roots))
	for i, r := range s.roots {
		list[i] = quote(r)
	}
	s.files["roots.json"] = obj{{"format", `"eblnode-archive-roots/1"`}, {"by", quote(carrier)}, {"roots", "[" + strings.Join(list, ",") + "]"}}.String()
	return s
}

// edit changes a piece of a file.
func (s *store) edit(path, from, to string) *store {
	text := strings.Replace(s.files[path], from, to, 1)
	if text == s.files[path] {
		panic("nothing to change in " + path + ": " + from)
	}
	s.files[path] = text
	return s
}

func (s *store) without(prefix string) *store {
	maps.DeleteFunc(s.files, func(path, _ string) bool { return strings.HasPrefix(path, prefix) })
	return s
}

// copied puts what begins with a path under another one too.
func (s *store) copied(from, to string) *store {
	for path, text := range maps.Clone(s.files) {
		if rest, ok := strings.CutPrefix(path, from); ok {
			s.files[to+rest] = text
		}
	}
	return s
}

func (s *store) with(path, text string) *store { s.files[path] = text; return s }

const archiveClock = "2026-06-03T12:00:00Z"

// archiveVectors are folders of archives, as they were written and as somebody left them.
func archiveVectors(g *generator) {
	const first, second = "20260530T100000Z/", "20260531T100000Z/"
	two := func() *store {
		return newStore(g).archive("2026-05-30T10:00:00Z").sign("2026-05-30", nil).archive("2026-05-31T10:00:00Z").sign("2026-05-31", nil).write()
	}
	put := func(name, comment string, s *store, edit func(*archived), rules ...string) {
		v := archived{Comment: comment, Kind: "archive", Expect: "valid", Rules: []string{}, At: archiveClock, Trust: "base", Files: s.files}
		for _, r := range rules {
			v.Rules = append(v.Rules, "archive/"+r)
			switch r {
			case "platformNotTrusted", "unknownKey", "keyCompromised", "noRoots", "unsealed":
				if v.Expect == "valid" {
					v.Expect = "indeterminate"
				}
			default:
				v.Expect = "invalid"
			}
		}
		slices.Sort(v.Rules)
		if edit != nil {
			edit(&v)
		}
		g.write("archive/"+name+".json", v)
	}
	kept := func(i int) func(*archived) { return func(v *archived) { v.Root = sum(two().roots[i]) } }

	put("two-days", "as it was written", two(), nil)
	put("two-days-root-kept", "the newest root is the one that the reader kept", two(), kept(1))
	put("older-root-kept", "an older root that the reader kept is among them", two(), kept(0))
	put("no-archives", "roots alone: no archive was made", newStore(g).sign("2026-05-30", nil).sign("2026-05-31", nil).write(), nil)
	put("no-roots-yet", "no day is over, and no archive was made", newStore(g).write(), nil)
	put("two-archives-of-a-day", "both under one root", newStore(g).archive("2026-05-30T10:00:00Z").archive("2026-05-30T11:00:00Z").sign("2026-05-30", nil).write(), nil)
	put("archive-over-midnight", "finished after midnight: the root of the next day names it", newStore(g).sign("2026-05-30", nil).archive("2026-05-30T23:59:00Z").sign("2026-05-31", nil).write(), nil)
	put("cut-off-unseen", "the newest root was cut off with its archive: nobody can see that without having kept it", newStore(g).archive("2026-05-30T10:00:00Z").sign("2026-05-30", nil).write(), nil)
	put("refuse-cut-off", "the same, for who kept the hash of the newest root", newStore(g).archive("2026-05-30T10:00:00Z").sign("2026-05-30", nil).write(), kept(1), "cutOff", "noRoots")
	put("refuse-newest-root-gone", "only the root was cut off", func() *store { s := two(); s.roots = s.roots[:1]; return s.write() }(), nil, "unsealed")
	put("refuse-unsealed", "of a day whose root is not there yet", two().archive("2026-06-03T08:00:00Z"), nil, "unsealed")
	put("refuse-unsealed-over-midnight", "begun on the last day that has a root: the next root may name it", two().archive("2026-05-31T23:59:00Z"), nil, "unsealed")
	put("refuse-no-roots", "the roots were taken away", two().without("roots.json"), nil, "noRoots")
	put("refuse-platform-not-trusted", "the reader does not know who made it", two(), func(v *archived) { v.Trust = "bank-only" }, "platformNotTrusted", "noRoots")
	put("refuse-unknown-key", "a root under a key that the reader was not given", newStore(g).sign("2026-05-30", func(_, h *obj) { *h = h.with("kid", `"carrier-9"`) }).write(), nil, "unknownKey")
	put("refuse-key-compromised", "the key was reported stolen", newStore(g).sign("2026-05-30", nil).write(), func(v *archived) { v.Trust = "compromised" }, "keyCompromised")

	root := func(name, comment string, edit func(p, h *obj), rule string) {
		put("refuse-root-"+name, comment, newStore(g).sign("2026-05-30", nil).sign("2026-05-31", edit).write(), nil, rule)
	}
	root("previous", "a root that follows another", func(p, _ *obj) { *p = p.with("previous", quote(sum("x"))) }, "root")
	root("no-previous", "a root that follows none, in the middle", func(p, _ *obj) { *p = p.without("previous") }, "root")
	root("day-again", "of the same day as the one before", func(p, _ *obj) { *p = p.with("day", `"2026-05-30"`) }, "root")
	root("day-not-over", "signed before its day was over", func(p, _ *obj) { *p = p.with("day", `"2026-06-01"`) }, "root")
	root("other-platform", "of another platform", func(p, _ *obj) { *p = p.with("platform", quote(bank)) }, "root")
	root("typ", "a receipt is no root", func(_, h *obj) { *h = h.with("typ", `"eblnode-receipt+jws"`) }, "root")
	root("no-iat", "nobody knows when it was signed", func(_, h *obj) { *h = h.without("iat") }, "root")
	root("rows", "no number of a row", func(p, _ *obj) { *p = p.with("rows", `"0"`) }, "root")
	root("window", "signed before the key might", func(p, h *obj) { *h = h.with("iat", "1700000000"); *p = p.with("day", `"2023-11-13"`) }, "root")
	put("refuse-root-zeros", "64 zeros stand for a root before the first", newStore(g).sign("2026-05-30", func(p, _ *obj) { *p = p.with("previous", quote(strings.Repeat("0", 64))) }).write(), nil, "root")
	put("refuse-root-taken-out", "the first root is missing", func() *store { s := two(); s.roots = s.roots[1:]; return s.write() }(), nil, "noRoots", "root")
	put("refuse-root-forged", "the signature is of something else", func() *store {
		s := two()
		parts := strings.Split(s.roots[1], ".")
		s.roots[1] = parts[0] + "." + parts[1] + "." + strings.Split(s.roots[0], ".")[2]
		return s.write()
	}(), nil, "noRoots", "root")
	put("refuse-root-ahead", "judged before the newest root was signed", two(), func(v *archived) { v.At = "2026-05-31T12:00:00Z" }, "noRoots", "timeAhead")
	put("refuse-archive-ahead", "an archive of tomorrow", two().archive("2026-06-04T10:00:00Z"), nil, "timeAhead")

	put("refuse-file-deleted", "a bundle is missing", two().without(first+"one.json"), nil, "deleted")
	put("refuse-list-deleted", "the list is missing", two().without(first+"archive.json"), nil, "deleted")
	put("refuse-archive-deleted", "a whole day is missing", two().without(first), nil, "deleted")
	put("refuse-file-inserted", "a bundle too many", two().with(first+"three.json", "{}"), nil, "inserted")
	put("refuse-hidden-file-inserted", "a hidden file too many", two().with(first+".three", "{}"), nil, "inserted")
	put("refuse-folder-inserted", "a folder too many, inside an archive", two().with(first+"more/", ""), nil, "inserted")
	put("refuse-roots-inserted", "roots where none belong", two().copied("roots.json", first+"roots.json"), nil, "inserted")
	put("refuse-beside", "a file beside the roots", two().with("three.json", "{}"), nil, "inserted")
	put("refuse-list-beside", "a list beside the roots", two().copied(first+"archive.json", "archive.json"), nil, "inserted")
	put("refuse-empty-folder-beside", "a folder beside the archives that is none", two().with("more/", ""), nil, "deleted")
	put("refuse-archive-inserted", "an archive that no root names, though a later day was signed", two().archive("2026-05-30T11:00:00Z"), nil, "inserted")
	put("refuse-archive-copied", "the same archive in a second folder", two().copied(first, "20260601T100000Z/"), nil, "inserted")
	put("refuse-file-changed", "a bundle was changed", two().edit(first+"one.json", "one", "uno"), nil, "changed")
	put("refuse-files-swapped", "two bundles under each other's name", func() *store {
		s := two()
		s.files[first+"one.json"], s.files[first+"two.json"] = s.files[first+"two.json"], s.files[first+"one.json"]
		return s
	}(), nil, "changed")
	put("refuse-file-renamed", "a bundle under another name", two().copied(first+"one.json", first+"eins.json").without(first+"one.json"), nil, "deleted")
	put("refuse-archive-renamed", "a folder under another name", two().copied(first, "20260530T100001Z/").without(first), nil, "renamed")
	put("refuse-list-changed", "a space in the list: another hash", two().edit(first+"archive.json", `":`, `": `), nil, "deleted", "inserted")
	for name, c := range map[string][2]string{"name-twice": {`"by":`, `"by":"bank.example","by":`}, "unknown-member": {`"by":`, `"for":"x","by":`}, "other-case": {`"by":`, `"By":`}, "format": {`/1"`, `/2"`}, "capital": {carrier, "Carrier.example"}, "no-platform": {`"by":"carrier.example",`, ""}} {
		put("refuse-roots-"+name, "roots.json is read strictly", two().edit("roots.json", c[0], c[1]), nil, "malformed", "noRoots")
		put("refuse-list-"+name, "archive.json is read strictly", two().edit(second+"archive.json", c[0], c[1]), nil, "deleted", "malformed")
	}
	put("refuse-roots-trailing", "something after the roots", func() *store { s := two(); s.files["roots.json"] += "{}"; return s }(), nil, "malformed", "noRoots")
	put("refuse-list-time", "a time that is not in UTC", two().edit(second+"archive.json", "10:00:00Z", "12:00:00+02:00"), nil, "deleted", "malformed")
	put("refuse-list-of-another", "the list of another platform", two().edit(second+"archive.json", carrier, bank), nil, "deleted", "malformed")
	put("refuse-list-path", "a name that leads out of the folder", two().edit(second+"archive.json", "one.json", "../one.json"), nil, "deleted", "malformed")
	put("refuse-list-twice", "a file listed twice", two().edit(second+"archive.json", "two.json", "one.json"), nil, "deleted", "malformed")
}
