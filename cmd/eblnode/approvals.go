package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"eblnode/api"

	"github.com/spf13/cobra"
)

// waiting prints an order that waits for a second person. It is not done, so the exit
// code is not 0.
func (a *app) waiting(text []byte) error {
	var out api.WaitingView
	if err := json.Unmarshal(text, &out); err != nil {
		return err
	}
	err := a.print(json.RawMessage(text), func(w io.Writer) {
		v := &out.Approval
		switch v.State {
		case "pending":
			fmt.Fprintf(w, "%s\nwaits for a second person until %s, who says: eblnode approvals approve %s\n", v.DocumentHash, time.Time(v.ExpiresAt).Format(time.RFC3339), v.ID)
		default:
			fmt.Fprintf(w, "%s\nwas asked before, and is %s: eblnode approvals show %s\n", v.DocumentHash, v.State, v.ID)
		}
	})
	if err != nil {
		return err
	}
	return &exitError{3, errors.New("")} // said above
}

func (a *app) approvalsCommand() *cobra.Command {
	c := &cobra.Command{Use: "approvals", Short: "Orders that wait for a second person",
		Long: `Orders of a user with approvers (eblnode user approvers) are not carried out before one of
those approves them. They wait for a day, also through a restart.`}
	list := []*cobra.Command{a.approvalsList(), a.approvalsShow(), a.approvalsApprove(), a.approvalsReject()}
	for _, sub := range list {
		sub.Flags().StringVar(&a.url, "url", "", "the node's local API (default $EBLNODE_URL, else the node running in --data)")
		sub.Flags().StringVar(&a.tokenFile, "token-file", "", "file with your token (default $EBLNODE_TOKEN_FILE; - reads standard input)")
	}
	c.AddCommand(list...)
	return c
}

func (a *app) approvalsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List them: your own, and those that you may approve", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.local()
			if err != nil {
				return err
			}
			var out api.ApprovalList
			if err := r.call(c.Context(), http.MethodGet, "/api/v1/approvals", nil, &out); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) {
				table(w, "ORDER\tSTATE\tBY\tWHAT\tBILL\tTO\tUNTIL", func(t io.Writer) {
					for i := range out.Approvals {
						v := &out.Approvals[i]
						fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.ID, v.State, v.RequestedBy, v.Order, clip(v.DocumentHash, 16), plain(clip(string(v.To), 60)), time.Time(v.ExpiresAt).Format(time.RFC3339))
					}
				})
			})
		},
	}
}

// approvalOf fetches one approval.
func approvalOf(c *cobra.Command, r *remote, id string) (*api.ApprovalView, error) {
	v := &api.ApprovalView{}
	return v, r.call(c.Context(), http.MethodGet, "/api/v1/approvals/"+url.PathEscape(id), nil, v)
}

func showApproval(w io.Writer, v *api.ApprovalView) {
	fmt.Fprintf(w, "%s, asked by %s at %s\n  bill: %s\n", v.Order, v.RequestedBy, time.Time(v.AskedAt).Format(time.RFC3339), v.DocumentHash)
	for _, l := range [][2]string{{"to", string(v.To)}, {"comments", v.Comments}} {
		if l[1] != "" {
			fmt.Fprintf(w, "  %s: %s\n", l[0], plain(l[1]))
		}
	}
	if v.Via != nil {
		fmt.Fprintf(w, "  by the system %s for %s %s, token %s\n", plain(v.Via.System), plain(v.Via.Customer), plain(v.Via.Person), plain(v.Via.Token))
	}
	fmt.Fprintf(w, "  order: SHA-256 %s\n  state: %s", v.RequestHash, v.State)
	if v.DecidedBy != "" {
		fmt.Fprintf(w, " by %s at %s %s", v.DecidedBy, time.Time(v.DecidedAt).Format(time.RFC3339), plain(v.Reason))
	}
	fmt.Fprintln(w)
	if v.Transfer != "" {
		fmt.Fprintf(w, "  transfer: %s; see it with: eblnode show %s\n", v.Transfer, v.DocumentHash)
	}
}

func (a *app) approvalsShow() *cobra.Command {
	var content bool
	c := &cobra.Command{
		Use: "show ORDER", Short: "Show one, with all that would be done", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.local()
			if err != nil {
				return err
			}
			v, err := approvalOf(c, r, args[0])
			if err != nil {
				return err
			}
			if content {
				_, err := fmt.Fprintln(a.out, string(v.Content))
				return err
			}
			return a.print(v, func(w io.Writer) { showApproval(w, v) })
		},
	}
	c.Flags().BoolVar(&content, "content", false, "print the whole order as JSON, with its document if there is one")
	return c
}

func (a *app) approvalsApprove() *cobra.Command {
	var yes bool
	var request, key string
	c := &cobra.Command{
		Use: "approve ORDER", Short: "Say yes to another user's order: it is carried out", Args: cobra.ExactArgs(1),
		Long: `Say yes to another user's order. It is shown and asked about, and then carried out: at
once inside the platform; to another platform by a transfer. --yes does not ask; give it
--request, the SHA-256 of the order that you looked at.`,
		RunE: func(c *cobra.Command, args []string) error {
			if yes && request == "" {
				return usage("--yes needs --request, the SHA-256 of the order that you have looked at (eblnode approvals show)")
			}
			r, err := a.local()
			if err != nil {
				return err
			}
			if request == "" {
				v, err := approvalOf(c, r, args[0])
				if err != nil {
					return err
				}
				showApproval(a.errOut, v)
				fmt.Fprint(a.errOut, "Carry it out? [y/N] ")
				answer, _ := bufio.NewReader(a.in).ReadString('\n')
				if s := strings.ToLower(strings.TrimSpace(answer)); s != "y" && s != "yes" {
					return refused("not approved; to refuse it for good: eblnode approvals reject %s", args[0])
				}
				request = v.RequestHash
			}
			var out api.ApprovalView
			if err := r.once(c.Context(), key, "/api/v1/approvals/"+url.PathEscape(args[0])+"/approve", map[string]string{"requestSha256": request}, &out); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) { showApproval(w, &out) })
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringVar(&request, "request", "", "SHA-256 of the order that you looked at")
	addKey(c, &key)
	return c
}

func (a *app) approvalsReject() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "reject ORDER", Short: "Say no to an order, or take your own back", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.local()
			if err != nil {
				return err
			}
			var out api.ApprovalView
			if err := r.call(c.Context(), http.MethodPost, "/api/v1/approvals/"+url.PathEscape(args[0])+"/reject", map[string]string{"reason": reason}, &out); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) { showApproval(w, &out) })
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, 1,000 characters at most")
	return c
}

func (a *app) userApprovers() *cobra.Command {
	var off bool
	var by []string
	c := &cobra.Command{
		Use: "approvers LOCALID --by USER,USER…", Short: "Let a user's orders wait for a second person", Args: cobra.ExactArgs(1),
		Long: `From now on every order of LOCALID that moves control waits until one of the others
approves it with a token of its own. --off ends that.`,
		Example: `  eblnode user approvers acme --by alice,bob`,
		RunE: func(c *cobra.Command, args []string) error {
			if off == (len(by) > 0) {
				return usage("name the second persons with --by, or say --off")
			}
			if off {
				by = []string{}
			}
			return a.withAdmin(c, func(r *remote) error {
				in := map[string][]string{"approvers": by}
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/users/"+url.PathEscape(args[0])+"/approvers", in, nil); err != nil {
					return err
				}
				return a.print(map[string]any{"local": args[0], "approvers": by}, func(w io.Writer) {
					if off {
						fmt.Fprintf(w, "orders of %s wait for nobody\n", plain(args[0]))
						return
					}
					fmt.Fprintf(w, "orders of %s wait for one of: %s\n", plain(args[0]), plain(strings.Join(by, ", ")))
				})
			})
		},
	}
	c.Flags().StringSliceVar(&by, "by", nil, "who may say yes: other local users")
	c.Flags().BoolVar(&off, "off", false, "its orders wait for nobody")
	return c
}
