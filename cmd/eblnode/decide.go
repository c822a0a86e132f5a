package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"time"

	"eblnode/api"

	"github.com/spf13/cobra"
)

// decideCommands are what operators decide two at a time, each with a token of its own.
func (a *app) decideCommands() []*cobra.Command {
	incoming := &cobra.Command{Use: "incoming", Short: "Blocks refused without a signature: their senders wait"}
	list := []*cobra.Command{a.incomingList(), a.incomingReject()}
	incoming.AddCommand(list...)
	resolve := a.resolveCommand()
	for _, c := range append(list, resolve) {
		c.Flags().StringVar(&a.url, "url", "", "the node's local API (default $EBLNODE_URL, else the node running in --data)")
		c.Flags().StringVar(&a.tokenFile, "token-file", "", "file with an operator's token (default $EBLNODE_TOKEN_FILE; - reads standard input)")
	}
	return []*cobra.Command{incoming, resolve}
}

func (a *app) incomingList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List them: who sends what, and what is missing", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.local()
			if err != nil {
				return err
			}
			var out api.IncomingList
			if err := r.call(c.Context(), http.MethodGet, "/api/v1/incoming", nil, &out); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) {
				table(w, "REQUEST\tPEER\tBILL\tTIMES\tLAST\tWHY", func(t io.Writer) {
					for i := range out.Incoming {
						v := &out.Incoming[i]
						why := v.Text + ": " + v.Message
						if p := v.Proposal; p != nil && p.ConfirmedBy == "" {
							why = "(rejection proposed by " + p.ProposedBy + ") " + why
						}
						fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", v.RequestHash, v.Peer, clip(v.DocumentHash, 16), v.Times, time.Time(v.LastAt).Format(time.RFC3339), plain(why))
					}
				})
			})
		},
	}
}

var hexHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (a *app) incomingReject() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "reject HASH|FILE --reason TEXT", Short: "Reject a block for good, by two operators", Args: cobra.ExactArgs(1),
		Long: `Reject a block that was refused without a signature, for good: the first operator
proposes, and the same command by another operator signs and stores the rejection. Its
sender gets it on its next attempt and has its bill back. HASH is the request or the
envelope of the list; FILE is a transferblock that the peer has sent by another way. What
was accepted is never rejected.`,
		RunE: func(c *cobra.Command, args []string) error {
			in := map[string]any{"reason": reason}
			if hexHash.MatchString(args[0]) {
				in["hash"] = args[0]
			} else {
				block, err := a.readArg(args[0])
				if err != nil {
					return err
				}
				in["block"] = block
			}
			r, err := a.local()
			if err != nil {
				return err
			}
			var out api.IncomingDecision
			if err := r.call(c.Context(), http.MethodPost, "/api/v1/incoming/reject", in, &out); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) {
				if out.Rejected {
					fmt.Fprintf(w, "rejected; %s gets it on its next attempt\n", out.Block.Peer)
					return
				}
				fmt.Fprintf(w, "proposed; another operator must say the same:\neblnode incoming reject %s --reason …\n", out.Block.RequestHash)
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, 1,000 characters at most; recorded for ever (needed)")
	return c
}

func (a *app) resolveCommand() *cobra.Command {
	var outcome, evidence, reason, key string
	var confirm bool
	c := &cobra.Command{
		Use: "resolve [TRANSFER --outcome away|held --evidence FILE --reason TEXT [--confirm]]", Short: "Settle a transfer in doubt or disputed, by two operators", Args: cobra.MaximumNArgs(1),
		Long: `Settle a transfer that no signature settles. The first operator proposes, with evidence; a
second one, with another token, looks at it and confirms exactly that with --confirm and
the same evidence file. Both are recorded for ever.

away: the peer has the bill. held: the peer does not have it and will not take it, and the
bill is its user's again. IF THE PEER TOOK IT AFTER ALL, THE BILL EXISTS TWICE.

Without a TRANSFER the open ones are listed. With one and nothing else, its proposal is
shown, and --evidence writes its evidence to a new file.`,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.local()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.listOpen(c, r)
			}
			path := "/api/v1/transfers/" + url.PathEscape(args[0])
			if outcome == "" {
				return a.showResolution(c, r, path, evidence)
			}
			if evidence == "" {
				return usage("--evidence FILE is needed, also to confirm")
			}
			text, err := os.ReadFile(evidence)
			if err != nil {
				return usage("%s", err)
			}
			in := map[string]any{"outcome": outcome, "reason": reason, "evidence": text}
			if confirm {
				sum := sha256.Sum256(text)
				in = map[string]any{"outcome": outcome, "confirm": true, "evidenceSha256": hex.EncodeToString(sum[:])}
			}
			var out api.TransferView
			if err := r.once(c.Context(), key, path+"/resolve", in, &out); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) {
				if confirm {
					fmt.Fprintf(w, "transfer %s is %s, by %s and %s\n", out.ID, out.State, out.Proposal.ProposedBy, out.Proposal.ConfirmedBy)
					return
				}
				fmt.Fprintf(w, "proposed: %s; another operator confirms with --confirm and the same evidence\n", outcome)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&outcome, "outcome", "", "away or held")
	f.StringVar(&evidence, "evidence", "", "the file on which this rests, 4 MiB at most")
	f.StringVar(&reason, "reason", "", "why, 1,000 characters at most")
	f.BoolVar(&confirm, "confirm", false, "confirm what another operator proposed")
	addKey(c, &key)
	return c
}

func (a *app) listOpen(c *cobra.Command, r *remote) error {
	var out api.TransferList
	if err := r.call(c.Context(), http.MethodGet, "/api/v1/transfers", nil, &out); err != nil {
		return err
	}
	return a.print(out, func(w io.Writer) {
		table(w, "TRANSFER\tBILL\tPEER\tSTATE\tSENT\tATTEMPTS\tLAST ANSWER", func(t io.Writer) {
			for i := range out.Transfers {
				x := &out.Transfers[i]
				answer := x.LastAnswer
				if p := x.Proposal; p != nil {
					answer = "(" + p.Outcome + " proposed by " + p.ProposedBy + ") " + answer
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", x.ID, clip(x.DocumentHash, 16), x.Peer, x.State, time.Time(x.SentAt).Format(time.RFC3339), x.Attempts, plain(answer))
			}
		})
	})
}

func (a *app) showResolution(c *cobra.Command, r *remote, path, file string) error {
	var p api.ProposalView
	if err := r.call(c.Context(), http.MethodGet, path+"/resolution", nil, &p); err != nil {
		return err
	}
	if file != "" {
		if err := writeNew(file, p.Evidence); err != nil {
			return err
		}
	}
	p.Evidence = nil
	return a.print(p, func(w io.Writer) {
		fmt.Fprintf(w, "%s, proposed by %s at %s: %s\nevidence: SHA-256 %s\n", p.Outcome, p.ProposedBy, time.Time(p.ProposedAt).Format(time.RFC3339), plain(p.Reason), p.EvidenceSum)
		if p.ConfirmedBy != "" {
			fmt.Fprintf(w, "confirmed by %s at %s\n", p.ConfirmedBy, time.Time(p.ConfirmedAt).Format(time.RFC3339))
		}
	})
}
