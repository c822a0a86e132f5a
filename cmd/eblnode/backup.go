package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"eblnode/api"
	"eblnode/internal/rights"
	"eblnode/node"

	"github.com/spf13/cobra"
)

func (a *app) backupCommand() *cobra.Command {
	var withKeys bool
	c := &cobra.Command{
		Use: "backup TARGET", Short: "Back the database up, also while the node runs", Args: cobra.ExactArgs(1),
		Long: `Write the database, as it is at one moment, to a new file TARGET; or, where TARGET ends
with a slash or is an empty folder, into that folder, with the configuration and the
certificates beside it. Nothing is overwritten.

Keys are secret, and not in it: --with-keys puts them into a folder, which is then as
precious as the node. All documents are in it: keep it as you keep the data folder.

The witness is not in it, and must never be restored: it is what tells how old a backup
is. Do not copy node.db by hand: what is in node.db-wal would be missing.`,
		Example: `  eblnode backup /backup/node-$(date +%F).db
  eblnode backup /backup/$(date +%F)/ --with-keys`,
		RunE: func(c *cobra.Command, args []string) error { return a.backup(c, args[0], withKeys) },
	}
	c.Flags().BoolVar(&withKeys, "with-keys", false, "the private keys too; TARGET must be a folder")
	return c
}

// backupOut is the --json of backup.
type backupOut struct {
	Database string   `json:"database"`
	Bytes    int64    `json:"bytes"`
	Files    []string `json:"files,omitempty"` // beside it, in a folder
}

func (a *app) backup(c *cobra.Command, target string, withKeys bool) error {
	folder := strings.HasSuffix(target, "/")
	if info, err := os.Stat(target); err == nil && info.IsDir() {
		folder = true
	}
	if withKeys && !folder {
		return usage("--with-keys needs a folder to write to: end the name with a slash")
	}
	path, err := filepath.Abs(target)
	if err != nil {
		return err
	}
	if folder {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		if old, err := os.ReadDir(path); err != nil || len(old) > 0 {
			return errors.Join(refused("%s is not empty; a backup overwrites nothing", path), err)
		}
		if err := rights.Ours(path); err != nil {
			return refused("%s", err)
		}
		path = filepath.Join(path, node.DatabaseFile)
	}
	return a.withAdmin(c, func(r *remote) error {
		r.client.Timeout = 0 // as long as the disk takes
		var made api.BackupView
		if err := r.call(c.Context(), http.MethodPost, "/admin/v1/backup", map[string]string{"path": path}, &made); err != nil {
			return err
		}
		out := backupOut{Database: made.Path, Bytes: made.Bytes}
		if folder {
			if out.Files, err = a.backupFiles(filepath.Dir(path), withKeys); err != nil {
				return err
			}
		}
		return a.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "%s: %d bytes\n", out.Database, out.Bytes)
			for _, f := range out.Files {
				fmt.Fprintln(w, f)
			}
		})
	})
}

// backupFiles copies what is needed to make the node again beside its database.
func (a *app) backupFiles(to string, withKeys bool) ([]string, error) {
	names := []string{configFile}
	patterns := []string{"*.crt", "*.json"}
	if withKeys {
		patterns = append(patterns, "*.key")
	}
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(a.data, keysDir, pattern))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			names = append(names, filepath.Join(keysDir, filepath.Base(f)))
		}
	}
	if err := os.MkdirAll(filepath.Join(to, keysDir), 0o700); err != nil {
		return nil, err
	}
	var made []string
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(a.data, name))
		if err != nil {
			return nil, err
		}
		path := filepath.Join(to, name)
		if err := writeNew(path, text); err != nil {
			return nil, err
		}
		made = append(made, path)
	}
	return made, nil
}

func (a *app) restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restore BACKUP", Short: "Put a backup in the place of the database, while the node is stopped", Args: cobra.ExactArgs(1),
		Long: `Put a backup (a file, or a folder that eblnode backup made) in the place of the database
in --data. The former database is kept beside it. No node may run on the folder.

Leave the witness where it is, the newest there is: at the next start the node finds in it
what happened since the backup, and brings the database up from it. Bills for which that
takes more (a peer that is not trusted any more, say) stay in quarantine and cannot be
moved; see: eblnode witness show. Without its witness, everything is frozen.

Users and peers added since the backup must be added again.`,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(a.data)
			if err != nil {
				return err
			}
			return a.restore(c.Context(), cfg, args[0])
		},
	}
}

func (a *app) restore(ctx context.Context, cfg *config, backup string) error {
	domain, err := cfg.domain()
	if err != nil {
		return err
	}
	if info, err := os.Stat(backup); err != nil {
		return usage("%s", err)
	} else if info.IsDir() {
		backup = filepath.Join(backup, node.DatabaseFile)
	}
	done, err := node.Restore(ctx, a.data, backup, domain, time.Now())
	if errors.Is(err, node.ErrInUse) {
		return refused("%w; stop it first", err)
	}
	if e, ok := errors.AsType[*node.Error](err); ok {
		return refused("restoring %s: %s", backup, e.Detail)
	}
	if err != nil {
		return err
	}
	v := map[string]any{"restored": backup, "aside": done.Aside, "generation": done.Generation}
	return a.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "restored %s, as it was at record %d of the witness\n", backup, done.Generation)
		if done.Aside != "" {
			fmt.Fprintf(w, "the former database is kept as %s\n", done.Aside)
		}
		fmt.Fprintln(w, "next: eblnode serve, then eblnode witness show and eblnode fsck")
	})
}

func (a *app) witnessCommand() *cobra.Command {
	w := &cobra.Command{Use: "witness", Short: "Whether the database is as new as the witness; releases"}
	w.AddCommand(a.witnessShow(), a.witnessRelease())
	return w
}

func (a *app) witnessShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show what is in quarantine or frozen, and why", Args: cobra.NoArgs,
		Long: `Show how database and witness stand to each other. Exit code 0 where nothing is held back,
1 where bills are in quarantine, everything is frozen or the journal cannot be written.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withAdmin(c, func(r *remote) error {
				var v api.WitnessView
				if err := r.call(c.Context(), http.MethodGet, "/admin/v1/witness", nil, &v); err != nil {
					return err
				}
				if err := a.print(v, func(w io.Writer) { printWitness(w, v) }); err != nil {
					return err
				}
				if v.Frozen != "" || v.Failed != "" || len(v.Quarantined) > 0 {
					return &exitError{1, errors.New("")}
				}
				return nil
			})
		},
	}
}

func printWitness(w io.Writer, v api.WitnessView) {
	fmt.Fprintf(w, "%s: record %d\n", v.Path, v.Generation)
	switch {
	case v.Frozen != "":
		fmt.Fprintf(w, "everything is frozen: %s\n", plain(v.Frozen))
	case v.Failed != "":
		fmt.Fprintf(w, "nothing moves until the node is started again: %s\n", plain(v.Failed))
	case len(v.Quarantined) == 0:
		fmt.Fprintln(w, "nothing is in quarantine")
	}
	if len(v.Quarantined) > 0 {
		table(w, "IN QUARANTINE\tRECORDS\tPROBLEM", func(t io.Writer) {
			for _, b := range v.Quarantined {
				fmt.Fprintf(t, "%s\t%d\t%s\n", b.DocumentHash, b.Records, plain(b.Problem))
			}
		})
	}
	for _, p := range v.Proposals {
		what := p.DocumentHash
		if what == "" {
			what = "everything"
		}
		fmt.Fprintf(w, "%s proposes to release %s: %s\n", plain(p.Operator), what, plain(p.Reason))
	}
}

func (a *app) witnessRelease() *cobra.Command {
	var everything bool
	var reason, evidence string
	c := &cobra.Command{
		Use: "release [BILL]", Short: "Free a bill in quarantine, or everything; by two operators", Args: cobra.MaximumNArgs(1),
		Long: `Free a bill in quarantine, or with --everything all that is frozen, as the database says it
is. Two users with the role operator must say so, each with their own token, a reason and
evidence (a file: a letter of the peer that would hold the bill, say). All is kept for ever.

This is the one way by which this node may come to spend a bill twice. First put the right
witness back, or the trust entry that is missing: then nothing needs to be released.`,
		RunE: func(c *cobra.Command, args []string) error {
			if everything == (len(args) == 1) {
				return usage("name a bill, or say --everything")
			}
			if reason == "" || evidence == "" {
				return usage("--reason TEXT and --evidence FILE are needed")
			}
			text, err := a.readArg(evidence)
			if err != nil {
				return err
			}
			token, err := a.token()
			if err != nil {
				return err
			}
			in := map[string]any{"everything": everything, "reason": reason, "evidence": text}
			if len(args) == 1 {
				in["documentHash"] = args[0]
			}
			return a.withAdmin(c, func(r *remote) error {
				r.token = token
				var v api.ReleaseView
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/witness/release", in, &v); err != nil {
					return err
				}
				return a.print(v, func(w io.Writer) {
					if v.Released {
						fmt.Fprintln(w, "released")
						return
					}
					fmt.Fprintln(w, "proposed; another operator must say the same within seven days")
				})
			})
		},
	}
	f := c.Flags()
	f.BoolVar(&everything, "everything", false, "all that is frozen for want of the witness")
	f.StringVar(&reason, "reason", "", "how it is known that the database is right")
	f.StringVar(&a.tokenFile, "token-file", "", "file with an operator's token, or - for standard input (default $EBLNODE_TOKEN_FILE)")
	f.StringVar(&evidence, "evidence", "", "file that shows it")
	return c
}
