package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"eblnode/api"

	"github.com/spf13/cobra"
)

// userCommands are what local users do, over the local API.
func (a *app) userCommands() []*cobra.Command {
	list := []*cobra.Command{
		a.issueCommand(),
		a.moveCommand("transfer", "Give a bill to another party", true, "endorse"),
		a.moveCommand("surrender", "Return a bill to its issuer, against the cargo", false),
		a.moveCommand("amend", "Return a bill to its issuer for an amendment", false),
		a.moveCommand("switch-to-paper", "Return a bill to its issuer for a paper one", false),
		a.honourCommand(), a.declineCommand(), a.cancelCommand(), a.verdictCommand(), a.listCommand(), a.showCommand(), a.bundleCommand(), a.eventsCommand(),
	}
	for _, c := range list {
		c.Flags().StringVar(&a.url, "url", "", "the node's local API (default $EBLNODE_URL, else the node running in --data)")
		c.Flags().StringVar(&a.tokenFile, "token-file", "", "file with your token (default $EBLNODE_TOKEN_FILE; - reads standard input)")
	}
	return list
}

func (a *app) issueCommand() *cobra.Command {
	var to string
	var toOrder bool
	var o orderFlags
	c := &cobra.Command{
		Use: "issue DOCUMENT --to PARTY", Short: "Issue a bill (role issuer)", Args: cobra.ExactArgs(1),
		Long: `Issue a bill: DOCUMENT is a file with the transport document, a JSON object. PARTY, who
controls it first, is localid@domain, or @FILE with a DCSA Party. The bill's name from
then on is the hash that is printed.`,
		Example: `  eblnode issue bl.json --to shipper@carrier.example --token-file carrier.token`,
		RunE: func(c *cobra.Command, args []string) error {
			document, err := a.readArg(args[0])
			if err != nil {
				return err
			}
			if !json.Valid(document) {
				return usage("%s is not JSON", args[0])
			}
			party, err := a.party(to)
			if err != nil {
				return err
			}
			in := map[string]any{"document": json.RawMessage(document), "to": party}
			if c.Flags().Changed("to-order") {
				in["isToOrder"] = toOrder
			}
			return a.order(c, "/api/v1/ebls", in, o)
		},
	}
	o.add(c)
	c.Flags().StringVar(&to, "to", "", "who controls it first: localid@domain, or @FILE with a Party (needed)")
	c.Flags().BoolVar(&toOrder, "to-order", false, "the bill is to order; needed where the document does not say isToOrder")
	return c
}

// orderFlags are the flags of every order.
type orderFlags struct {
	comments string
	wait     int
	key      string
}

func (o *orderFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&o.comments, "comments", "", "a text for who gets it, 255 characters at most")
	c.Flags().IntVar(&o.wait, "wait", 10, "seconds to wait for the other platform's signed answer, 60 at most")
	addKey(c, &o.key)
}

// addKey is the flag of everything that is carried out once.
func addKey(c *cobra.Command, key *string) {
	c.Flags().StringVar(key, "idempotency-key", "", "name this order: sent again under the same name it is not carried out again (default: a random one)")
}

// moveHelp says what the exit code of an order means: a script must not take a transfer
// in doubt for one that is done.
const moveHelp = `
Exit code 0: it is done; where it went to another platform, that one's signed receipt is
here. 1: it was refused, and the bill is where it was. 3: there is no signed answer yet;
the bill is locked, and the same bytes are sent again until there is one. Look at it with:
eblnode show HASH`

func (a *app) moveCommand(use, short string, needsTo bool, aliases ...string) *cobra.Command {
	var to string
	var o orderFlags
	c := &cobra.Command{
		Use: use + " HASH", Aliases: aliases, Short: short, Args: cobra.ExactArgs(1), Long: short + ".\n" + moveHelp,
		RunE: func(c *cobra.Command, args []string) error {
			in := map[string]any{}
			if to != "" {
				party, err := a.party(to)
				if err != nil {
					return err
				}
				in["to"] = party
			} else if needsTo {
				return usage("--to is needed: who gets the bill?")
			}
			return a.order(c, billPath(args[0])+"/"+use, in, o)
		},
	}
	o.add(c)
	what := "the issuer: localid@domain; may be left out on the platform that issued the bill"
	if needsTo {
		c.Use += " --to PARTY"
		what = "who gets it: localid@domain, or @FILE with a Party (needed)"
	}
	c.Flags().StringVar(&to, "to", "", what)
	return c
}

func (a *app) honourCommand() *cobra.Command {
	var replacement string
	var o orderFlags
	c := &cobra.Command{
		Use: "honour HASH", Short: "Say yes to a returned bill: it is void then", Args: cobra.ExactArgs(1),
		Long: `Say yes to a returned bill, as the user that issued it. The verdict is signed and final:
the bill is void. For an amendment, --replacement is the new document; it is issued in the
same step.`,
		RunE: func(c *cobra.Command, args []string) error {
			in := map[string]any{}
			if replacement != "" {
				document, err := a.readArg(replacement)
				if err != nil {
					return err
				}
				if !json.Valid(document) {
					return usage("%s is not JSON", replacement)
				}
				in["replacement"] = json.RawMessage(document)
			}
			return a.order(c, billPath(args[0])+"/honour", in, o)
		},
	}
	o.add(c)
	c.Flags().StringVar(&replacement, "replacement", "", "file with the document that replaces an amended bill")
	return c
}

func (a *app) declineCommand() *cobra.Command {
	var o orderFlags
	c := &cobra.Command{
		Use: "decline HASH", Short: "Say no to a returned bill: it goes back", Args: cobra.ExactArgs(1),
		Long: "Say no to a returned bill, as the user that issued it: it goes back to who returned it.\nSay why with --comments.\n" + moveHelp,
		RunE: func(c *cobra.Command, args []string) error {
			return a.order(c, billPath(args[0])+"/decline", map[string]any{}, o)
		},
	}
	o.add(c)
	return c
}

func (a *app) cancelCommand() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "cancel TRANSFER", Short: "Take back a transfer of which nothing has left yet", Args: cobra.ExactArgs(1),
		Long: `Take back a transfer while it is prepared: nothing of it has left, and nothing ever will.
Once it is sending, only the addressee's signed answer ends it.`,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.local()
			if err != nil {
				return err
			}
			var out api.OperationView
			if err := r.once(c.Context(), key, "/api/v1/transfers/"+url.PathEscape(args[0])+"/cancel", map[string]any{}, &out); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "%s\ncancelled; %s\n", out.Bill.DocumentHash, standing(&out.Bill))
			})
		},
	}
	addKey(c, &key)
	return c
}

func (a *app) verdictCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verdict FILE", Short: "Take a carrier's verdict that came as a file", Args: cobra.ExactArgs(1),
		Long: `Take the verdict of a carrier on a bill that was returned to it, from a file (or "-"): what
the carrier's node prints with "eblnode show HASH --verdict". Only the signature of the
platform that issued the bill counts; with it the bill is void here too.`,
		RunE: func(c *cobra.Command, args []string) error {
			text, err := a.readArg(args[0])
			if err != nil {
				return err
			}
			r, err := a.local()
			if err != nil {
				return err
			}
			var out api.VerdictView
			in := map[string]string{"verdict": strings.TrimSpace(string(text))}
			if err := r.call(c.Context(), http.MethodPost, "/api/v1/verdicts", in, &out); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) { fmt.Fprintf(w, "%s is void\n", out.DocumentHash) })
		},
	}
}

// party reads --to: an identifier, or @FILE.
func (a *app) party(s string) (json.RawMessage, error) {
	if s == "" {
		return nil, usage("--to is needed: who gets the bill?")
	}
	file, isFile := strings.CutPrefix(s, "@")
	if !isFile {
		return quoteJSON(s), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usage("--to: %s", err)
	}
	if !json.Valid(text) {
		return nil, usage("--to: %s is not JSON", file)
	}
	return text, nil
}

// billPath is the path of a bill on the local listener.
func billPath(hash string) string { return "/api/v1/ebls/" + url.PathEscape(hash) }

// order gives an order and prints what came of it.
func (a *app) order(c *cobra.Command, path string, in map[string]any, o orderFlags) error {
	if o.wait < 0 || o.wait > 60 {
		return usage("--wait %d: from 0 to 60 seconds", o.wait)
	}
	in["comments"] = o.comments
	r, err := a.local()
	if err != nil {
		return err
	}
	var out api.OperationView
	if r.key = o.key; r.key == "" {
		r.key = rand.Text()
	}
	text, err := r.again(c.Context(), path+"?wait="+strconv.Itoa(o.wait), in)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return err
	}
	if out.Bill.DocumentHash == "" {
		return a.waiting(text)
	}
	x := out.Transfer
	open := x != nil && x.State != "accepted"
	err = a.print(json.RawMessage(text), func(w io.Writer) {
		b := out.Bill
		if out.Repeated {
			fmt.Fprintln(w, "(done before, under this key)")
		}
		fmt.Fprintln(w, b.DocumentHash)
		switch {
		case open:
			fmt.Fprintf(w, "transfer %s to %s has no signed answer yet (%s); look again with: eblnode show %s\n", x.ID, x.Peer, x.State, b.DocumentHash)
		case x != nil:
			fmt.Fprintf(w, "accepted by %s; receipt %s…\n", x.Peer, clip(x.Verdict, 40))
		}
		if out.ReplacedBy != "" {
			fmt.Fprintf(w, "replaced by %s\n", out.ReplacedBy)
		}
		fmt.Fprintln(w, standing(&b))
	})
	if err == nil && open {
		return &exitError{3, errors.New("")} // said above
	}
	return err
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// standing says in one line where a bill is. Of one in quarantine nobody is told that it is
// his: the witness may know that it left.
func standing(b *api.BillView) string {
	if b.Quarantine != "" {
		last := *b
		last.Quarantine, last.Reason = "", ""
		return "not known: the bill is " + plain(b.Quarantine) + " (of an older time: " + standing(&last) + ")"
	}
	switch b.Control {
	case "held":
		if b.ReturnedBy != "" {
			return fmt.Sprintf("%s is in control; returned by %s (%s)", plain(b.Possessor), plain(b.ReturnedBy), b.Status)
		}
		return plain(b.Possessor) + " is in control"
	case "away":
		return plain(b.Possessor) + " is in control, on another platform"
	case "void":
		return "the bill is void; its carrier honoured the return"
	}
	if strings.HasPrefix(b.Reason, b.Control) {
		return plain(b.Reason)
	}
	return strings.TrimSuffix(b.Control+": "+plain(b.Reason), ": ")
}

func (a *app) listCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List the bills that you may see", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.local()
			if err != nil {
				return err
			}
			list := api.BillList{Bills: []api.BillView{}}
			cursor := ""
			for {
				var page api.BillList
				if err := r.call(c.Context(), http.MethodGet, "/api/v1/ebls?limit=200"+cursor, nil, &page); err != nil {
					return err
				}
				list.Bills, list.NextCursor = append(list.Bills, page.Bills...), page.NextCursor
				if page.NextCursor == "" || !all {
					break
				}
				cursor = "&cursor=" + url.QueryEscape(page.NextCursor)
			}
			return a.print(list, func(w io.Writer) {
				table(w, "BILL\tREFERENCE\tSTATUS\tWHERE", func(t io.Writer) {
					for i := range list.Bills {
						b := &list.Bills[i]
						fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", b.DocumentHash, plain(b.Reference), b.Status, standing(b))
					}
				})
				if list.NextCursor != "" {
					fmt.Fprintln(w, "(more: --all)")
				}
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "all of them, not the newest 200 only")
	return c
}

func (a *app) showCommand() *cobra.Command {
	var chain, document, verdict bool
	c := &cobra.Command{
		Use: "show HASH", Short: "Show a bill: who is in control, and why it is locked if it is", Args: cobra.ExactArgs(1),
		Long: `Show a bill. --chain prints its transferblock, which eblverify reads; --document the
transport document; --verdict the carrier's signed verdict, which another platform takes
with "eblnode verdict FILE".`,
		RunE: func(c *cobra.Command, args []string) error {
			if chain && document || verdict && (chain || document) {
				return usage("--chain, --document and --verdict exclude each other")
			}
			r, err := a.local()
			if err != nil {
				return err
			}
			path := billPath(args[0])
			if chain || document {
				part := "/chain"
				if document {
					part = "/document"
				}
				text, err := r.raw(c.Context(), http.MethodGet, path+part, nil)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(a.out, string(text))
				return err
			}
			var b api.BillView
			if err := r.call(c.Context(), http.MethodGet, path, nil, &b); err != nil {
				return err
			}
			if verdict {
				if b.Verdict == "" {
					return refused("there is no verdict of the carrier on this bill")
				}
				_, err := fmt.Fprintln(a.out, b.Verdict)
				return err
			}
			return a.print(b, func(w io.Writer) { showBill(w, &b) })
		},
	}
	c.Flags().BoolVar(&chain, "chain", false, "print the transferblock")
	c.Flags().BoolVar(&document, "document", false, "print the transport document")
	c.Flags().BoolVar(&verdict, "verdict", false, "print the carrier's verdict")
	return c
}

func showBill(w io.Writer, b *api.BillView) {
	table(w, "bill\t"+b.DocumentHash, func(t io.Writer) {
		line := func(name, value string) {
			if value != "" {
				fmt.Fprintf(t, "%s\t%s\n", name, plain(value))
			}
		}
		line("carrier", b.CarrierCode)
		line("reference", strings.TrimSpace(b.Reference+" "+b.SubReference))
		line("status", b.Status)
		line("possessor", b.Possessor)
		line("title", b.Title)
		if b.Control != "" {
			fmt.Fprintf(t, "control\t%s\n", standing(b)) // plain already
		}
		line("returned by", b.ReturnedBy)
		line("issued by", strings.TrimSpace(b.Issuer+" "+b.IssuingPlatform))
		line("head", b.Head)
		line("entries", fmt.Sprintf("%d, and %d steps since", b.Entries, b.Steps))
		if x := b.Transfer; x != nil {
			line("transfer", fmt.Sprintf("%s to %s: %s, %d attempts", x.ID, x.Peer, x.State, x.Attempts))
			line("last answer", x.LastAnswer)
			for _, tried := range x.History[max(0, len(x.History)-3):] {
				where := ""
				if tried.Place != "" {
					where = ", to " + tried.Place
				}
				line("attempt", fmt.Sprintf("%d at %s%s: %s", tried.N, time.Time(tried.At).Format(time.RFC3339), where, tried.Answer))
			}
			line(map[string]string{"accepted": "receipt", "rejected": "rejection", "disputed": "rejection"}[x.State], x.Verdict)
		}
		line("verdict", b.Verdict)
	})
}
