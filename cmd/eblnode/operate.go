package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"eblnode/api"
	"eblnode/identity"

	"github.com/spf13/cobra"
)

// withAdmin runs f with the way to the node, and lets the data folder go after it.
func (a *app) withAdmin(c *cobra.Command, f func(*remote) error) error {
	r, err := a.admin(c.Context())
	if err != nil {
		return err
	}
	err = f(r)
	if cerr := r.close(); err == nil {
		err = cerr
	}
	return err
}

// shown prints what the node has at path: out is filled before text is called.
func (a *app) shown(c *cobra.Command, path string, out any, text func(io.Writer)) error {
	return a.withAdmin(c, func(r *remote) error {
		if err := r.call(c.Context(), http.MethodGet, path, nil, out); err != nil {
			return err
		}
		return a.print(out, text)
	})
}

func (a *app) peerCommand() *cobra.Command {
	peer := &cobra.Command{Use: "peer", Short: "Trust entries: ours, and those of peers",
		Long: `A peer is a platform whose trust entry we hold. Onboarding is an exchange of two such
entries, each confirmed by its fingerprint over another channel (the telephone, say).`}
	peer.AddCommand(a.peerSelf(), a.peerAdd(), a.peerList(), a.peerShow(), a.peerRemove(), a.peerFetch(), a.peerCheck(), a.peerSignCSR())
	return peer
}

func (a *app) peerSelf() *cobra.Command {
	return &cobra.Command{
		Use: "self", Short: "Print our trust entry, to hand to a peer", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.data)
			if err != nil {
				return err
			}
			k, err := loadKeys(a.data, cfg, nil)
			if err != nil {
				return err
			}
			self, err := cfg.self(k)
			if err != nil {
				return err
			}
			text, err := self.JSON()
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(a.out, strings.TrimSpace(string(text))); err != nil {
				return err
			}
			fmt.Fprintf(a.errOut, "fingerprint: %s (tell it your peer over another channel)\n", self.Fingerprint())
			return nil
		},
	}
}

func (a *app) peerAdd() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "add FILE", Short: "Add or replace trust entries", Args: cobra.ExactArgs(1),
		Long: `Add the trust entries of a file (or of standard input, "-"): one object, an array, or
{"platforms": […]}. Each is shown with its fingerprint and asked to confirm; --yes says
that you have compared them. An entry that is replaced keeps its old keys.`,
		RunE: func(c *cobra.Command, args []string) error {
			text, err := a.readArg(args[0])
			if err != nil {
				return err
			}
			ps, err := identity.ParseTrust(text)
			if err != nil {
				return usage("%s: %s", args[0], err)
			}
			if len(ps) == 0 {
				return usage("%s: there is no trust entry in it", args[0])
			}
			if !yes {
				if err := a.confirm(ps, args[0] == "-"); err != nil {
					return err
				}
			}
			return a.withAdmin(c, func(r *remote) error {
				var out api.PeerList
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/peers", text, &out); err != nil {
					return err
				}
				return a.print(out, func(w io.Writer) {
					for _, p := range out.Peers {
						fmt.Fprintf(w, "added %s (%s)\n", p.Domain, p.Fingerprint)
					}
				})
			})
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "the fingerprints have been compared; do not ask")
	return c
}

// confirm shows each entry and asks.
func (a *app) confirm(ps []*identity.Platform, fromInput bool) error {
	if fromInput {
		return usage("with - there is nobody to ask: compare the fingerprints and say --yes")
	}
	in := bufio.NewReader(a.in)
	for _, p := range ps {
		fmt.Fprintf(a.errOut, "domain: %s\n  name: %s\n  may issue bills: %t\n", p.Domain, plain(p.Name), p.Issuer)
		describeRights(a.errOut, p)
		fmt.Fprintf(a.errOut, "  signing keys: %s\n  fingerprint: %s\nDoes the peer say the same fingerprint? [y/N] ", trusted(p), p.Fingerprint())
		answer, _ := in.ReadString('\n')
		if s := strings.ToLower(strings.TrimSpace(answer)); s != "y" && s != "yes" {
			return refused("%s is not confirmed, so nothing was added (--yes says that you have compared the fingerprints)", p.Domain)
		}
	}
	return nil
}

func (a *app) peerList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List peers", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out api.PeerList
			return a.shown(c, "/admin/v1/peers", &out, func(w io.Writer) {
				table(w, "DOMAIN\tNAME\tISSUER\tKEYS\tENDPOINT\tFINGERPRINT\tANSWERS", func(t io.Writer) {
					for _, p := range out.Peers {
						endpoint := p.Endpoint
						if endpoint == "" {
							endpoint = "(DNS)"
						}
						fmt.Fprintf(t, "%s\t%s\t%t\t%d\t%s\t%s\t%s\n", p.Domain, plain(p.Name), p.Issuer, p.Keys, endpoint, p.Fingerprint, answers(&p))
					}
				})
			})
		},
	}
}

// answers says whether a peer answers what is sent to it.
func answers(p *api.PeerView) string {
	switch since := time.Time(p.FailingSince).UTC().Format(time.RFC3339); {
	case p.Failures == 0:
		return "-"
	case p.Circuit == "open":
		return "not since " + since + ", probed one at a time: " + plain(p.Trouble)
	default:
		return "failing since " + since + ": " + plain(p.Trouble)
	}
}

func (a *app) peerShow() *cobra.Command {
	return &cobra.Command{
		Use: "show DOMAIN", Short: "Print a peer's trust entry", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAdmin(c, func(r *remote) error {
				var out struct {
					Entry json.RawMessage `json:"entry"`
				}
				if err := r.call(c.Context(), http.MethodGet, "/admin/v1/peers/"+url.PathEscape(args[0]), nil, &out); err != nil {
					return err
				}
				ps, err := identity.ParseTrust(out.Entry)
				if err != nil {
					return err
				}
				text, err := ps[0].JSON()
				if err != nil {
					return err
				}
				fmt.Fprintln(a.out, strings.TrimSpace(string(text)))
				fmt.Fprintln(a.errOut, "fingerprint: "+ps[0].Fingerprint())
				return nil
			})
		},
	}
}

// remove takes away what stands under that name in a collection of the admin API.
func (a *app) remove(c *cobra.Command, collection, name string) error {
	return a.withAdmin(c, func(r *remote) error {
		if err := r.call(c.Context(), http.MethodDelete, collection+url.PathEscape(name), nil, nil); err != nil {
			return err
		}
		return a.print(map[string]string{"removed": name}, func(w io.Writer) { fmt.Fprintln(w, "removed "+plain(name)) })
	})
}

func (a *app) peerRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove DOMAIN", Short: "Take a peer's trust entry away", Args: cobra.ExactArgs(1),
		Long: `Take a peer's trust entry away. Nothing of it is accepted any more, nor are bills from
others that carry its signature. Where only a key went bad, add an entry that marks the
key revoked instead.`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.remove(c, "/admin/v1/peers/", args[0])
		},
	}
}

func (a *app) userAdminCommand() *cobra.Command {
	u := &cobra.Command{Use: "user", Short: "Local users and their tokens"}
	u.AddCommand(a.userAdd(), a.userList(), a.userToken(), a.userDisable(), a.userApprovers())
	return u
}

func (a *app) userAdd() *cobra.Command {
	var name, role, tokenFile, tax1, tax2 string
	var codes []string
	c := &cobra.Command{
		Use: "add LOCALID --role ROLE", Short: "Add a user and print its token", Args: cobra.ExactArgs(1),
		Long: `Add a user, LOCALID@our-domain. Roles: issuer (a carrier: issues, and holds), holder (holds and
transfers), auditor (sees every bill, moves none), operator.

The token is shown this once; only its SHA-256 is kept. With --token-file it is written
to a new file that you alone can read.`,
		Example: `  eblnode user add acme --role holder --name "Acme Ltd" --lei 5299000EXAMPLE000001 --token-file acme.token`,
		RunE: func(c *cobra.Command, args []string) error {
			in := map[string]any{"local": args[0], "name": name, "role": role, "taxReference1": tax1, "taxReference2": tax2}
			list := []api.CodeView{}
			for _, s := range codes {
				list = append(list, api.CodeView{Provider: "GLEIF", List: "LEI", Code: s})
			}
			in["identifyingCodes"] = list
			return a.withAdmin(c, func(r *remote) error { return a.addUser(c, r, in, tokenFile) })
		},
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "its name, for people")
	f.StringVar(&role, "role", "holder", "issuer, holder, auditor or operator")
	f.StringSliceVar(&codes, "lei", nil, "its LEI: a transferee given with another is refused")
	f.StringVar(&tax1, "tax1", "", "its first tax reference")
	f.StringVar(&tax2, "tax2", "", "its second tax reference")
	f.StringVar(&tokenFile, "token-file", "", "write the token to this new file instead of printing it")
	return c
}

func (a *app) addUser(c *cobra.Command, r *remote, in map[string]any, tokenFile string) error {
	var out api.NewUserView
	if tokenFile == "" {
		if err := r.call(c.Context(), http.MethodPost, "/admin/v1/users", in, &out); err != nil {
			return err
		}
		return a.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "added %s (%s)\ntoken, shown this once: %s\n", out.User.Local, out.User.Role, out.Token)
		})
	}
	// Before the user is made: a token that could not be kept is lost.
	if err := writeNew(tokenFile, nil); err != nil {
		return refused("the token cannot be kept, so no user was added: %w", err)
	}
	err := r.call(c.Context(), http.MethodPost, "/admin/v1/users", in, &out)
	if err == nil {
		err = os.WriteFile(tokenFile, []byte(out.Token+"\n"), 0o600)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tokenFile))
	}
	return a.print(map[string]any{"user": out.User, "tokenFile": tokenFile}, func(w io.Writer) {
		fmt.Fprintf(w, "added %s (%s); its token is in %s\n", out.User.Local, out.User.Role, tokenFile)
	})
}

func (a *app) userList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List users", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out api.UserList
			return a.shown(c, "/admin/v1/users", &out, func(w io.Writer) {
				table(w, "LOCAL ID\tNAME\tROLE\tSTATE", func(t io.Writer) {
					for _, u := range out.Users {
						state := "active"
						if u.Disabled {
							state = "disabled"
						}
						fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", u.Local, plain(u.Name), u.Role, state)
					}
				})
			})
		},
	}
}

func (a *app) userToken() *cobra.Command {
	var tokenFile string
	c := &cobra.Command{
		Use: "token LOCALID", Short: "Give a user a new token", Args: cobra.ExactArgs(1),
		Long: `Give a user a new token, and enable it again where it was disabled. The old token stops at
once. For a user who lost its token: nobody else can move the bills that it holds.`,
		RunE: func(c *cobra.Command, args []string) error {
			if tokenFile != "" {
				if err := writeNew(tokenFile, nil); err != nil {
					return refused("the token cannot be kept, so nothing was changed: %w", err)
				}
			}
			return a.withAdmin(c, func(r *remote) error {
				var out api.TokenView
				err := r.call(c.Context(), http.MethodPost, "/admin/v1/users/"+url.PathEscape(args[0])+"/token", nil, &out)
				if tokenFile == "" {
					if err != nil {
						return err
					}
					return a.print(out, func(w io.Writer) {
						fmt.Fprintf(w, "new token of %s, shown this once: %s\n", out.Local, out.Token)
					})
				}
				if err == nil {
					err = os.WriteFile(tokenFile, []byte(out.Token+"\n"), 0o600)
				}
				if err != nil {
					return errors.Join(err, os.Remove(tokenFile))
				}
				return a.print(map[string]string{"local": out.Local, "tokenFile": tokenFile}, func(w io.Writer) {
					fmt.Fprintf(w, "the new token of %s is in %s\n", out.Local, tokenFile)
				})
			})
		},
	}
	c.Flags().StringVar(&tokenFile, "token-file", "", "write the token to this new file instead of printing it")
	return c
}

func (a *app) userDisable() *cobra.Command {
	return &cobra.Command{
		Use: "disable LOCALID", Short: "Stop a user's token", Args: cobra.ExactArgs(1),
		Long: `Stop a user's token, and stop bills from being addressed to it. Bills that it holds stay.`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAdmin(c, func(r *remote) error {
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/users/"+url.PathEscape(args[0])+"/disable", nil, nil); err != nil {
					return err
				}
				return a.print(map[string]string{"disabled": args[0]}, func(w io.Writer) { fmt.Fprintln(w, "disabled "+plain(args[0])) })
			})
		},
	}
}

// table writes aligned columns.
func table(w io.Writer, head string, rows func(io.Writer)) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, head)
	rows(t)
	_ = t.Flush()
}

// quoteJSON is s as a JSON string.
func quoteJSON(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always encodes
	return b
}
