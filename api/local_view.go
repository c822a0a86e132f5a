package api

import (
	"time"

	"eblnode/identity"
	"eblnode/node"

	"github.com/go-json-experiment/json/jsontext"
)

// A stamp is a time on the local and admin listeners: RFC 3339, milliseconds, UTC. The
// zero stamp is left out.
type stamp time.Time

// MarshalText writes it.
func (s stamp) MarshalText() ([]byte, error) {
	return []byte(time.Time(s).UTC().Format(timeFormat)), nil
}

// UnmarshalText reads it.
func (s *stamp) UnmarshalText(b []byte) error {
	at, err := time.Parse(timeFormat, string(b))
	*s = stamp(at)
	return err
}

// IsZero reports whether there is no time.
func (s stamp) IsZero() bool { return time.Time(s).IsZero() }

// BillView is a bill as its user sees it.
type BillView struct {
	DocumentHash string `json:"documentHash"` // 64 lower-case hex digits; the bill's name everywhere
	// CarrierCode, Reference and SubReference are the document's; empty where it has none.
	CarrierCode  string `json:"carrierCode,omitempty"`
	Reference    string `json:"transportDocumentReference,omitempty"`
	SubReference string `json:"transportDocumentSubReference,omitempty"`
	ToOrder      bool   `json:"isToOrder"`
	// Status is active, surrenderPending, amendmentPending, paperPending or void.
	Status string `json:"status"`
	// Control is held, locked, disputed, away or void.
	Control         string `json:"control"`
	IssuingPlatform string `json:"issuingPlatform"`
	Issuer          string `json:"issuer,omitempty"`     // localid@domain; known on the issuing platform only
	Possessor       string `json:"possessor,omitempty"`  // localid@domain; absent once void
	Title           string `json:"title,omitempty"`      // localid@domain of the endorsee; in v1 the possessor
	ReturnedBy      string `json:"returnedBy,omitempty"` // while a return is pending
	Head            string `json:"headEnvelopeHash,omitempty"`
	Entries         int    `json:"chainLength"`
	Steps           int    `json:"stepsSinceHead"`   // inside this platform, not sealed yet
	Reason          string `json:"reason,omitempty"` // why it cannot be moved now, for people
	// Quarantine says why nothing about the bill changes: the witness knows more of it than the
	// database, or is missing. All the rest is then of an older time. Absent where it is not so.
	Quarantine string `json:"quarantine,omitempty"`
	// Transfer is the open transfer to another platform, else the last one.
	Transfer  *TransferView `json:"transfer,omitempty"`
	Verdict   string        `json:"verdict,omitempty"` // the carrier's, a compact JWS
	IssuedAt  stamp         `json:"recordedAt"`        // when this node first had it
	ChangedAt stamp         `json:"changedAt"`
}

// TransferView is one attempt to move a bill to another platform.
type TransferView struct {
	ID           string `json:"id"`
	DocumentHash string `json:"documentHash"`
	// State is prepared, sending, accepted, rejected, disputed or cancelled.
	State       string `json:"state"`
	InDoubt     bool   `json:"inDoubt"` // sent, and no signed answer yet
	Instruction string `json:"instruction"`
	Peer        string `json:"peer"`
	// Transferee is as ordered: "localid@domain" or a Party.
	Transferee   jsontext.Value `json:"transferee"`
	EnvelopeHash string         `json:"envelopeHash"`
	CreatedAt    stamp          `json:"createdAt"`
	SentAt       stamp          `json:"sentAt,omitzero"`
	Attempts     int            `json:"attempts"`
	// History is the newest attempts, oldest first; absent in a list of bills.
	History       []AttemptView `json:"attemptHistory,omitempty"`
	LastAttemptAt stamp         `json:"lastAttemptAt,omitzero"`
	LastAnswer    string        `json:"lastAnswer,omitempty"` // not signed, for people
	NextAttemptAt stamp         `json:"nextAttemptAt,omitzero"`
	Verdict       string        `json:"verdict,omitempty"`   // the receipt or rejection that settled it, a compact JWS
	SettledBy     string        `json:"settledBy,omitempty"` // receipt, rejection, chain, cancel or operators
	SettledAt     stamp         `json:"settledAt,omitzero"`
	// Proposal is what operators propose, or have confirmed; for operators and auditors.
	Proposal *ProposalView `json:"proposal,omitempty"`
}

// AttemptView is one time that a transfer was sent.
type AttemptView struct {
	N      int    `json:"attempt"` // from 1
	At     stamp  `json:"at"`
	Answer string `json:"answer"` // for people
	// Place is where it went, how that was found, and whether DNSSEC vouched for it; absent
	// where nothing left.
	Place string `json:"place,omitempty"`
}

// OperationView is what an order did and where the bill stands now.
type OperationView struct {
	Bill BillView `json:"bill"`
	// Transfer is the one the order started; absent where the step was inside this
	// platform, and is done.
	Transfer *TransferView `json:"transfer,omitempty"`
	// Verdict is the carrier's, where the order was to honour a return.
	Verdict string `json:"verdict,omitempty"`
	// ReplacedBy is the document hash of the bill issued in the place of an amended one.
	ReplacedBy string `json:"replacedBy,omitempty"`
	// Repeated says that the order was carried out before, under the same Idempotency-Key,
	// and nothing more was done now.
	Repeated bool `json:"repeated,omitempty"`
}

// BillList is one page of bills, newest first.
type BillList struct {
	Bills []BillView `json:"ebls"`
	// NextCursor is the cursor of the next page; absent on the last.
	NextCursor string `json:"nextCursor,omitempty"`
}

// WhoamiView is the user of a token.
type WhoamiView struct {
	UserView
	ID       string `json:"id"` // localid@domain
	Platform string `json:"platform"`
	// Via is the system that acts for the user, and by which token; absent where the user
	// asks itself.
	Via *node.Act `json:"via,omitempty"`
}

// UserView is a local user.
type UserView struct {
	Local     string     `json:"local"`
	Name      string     `json:"name"`
	Role      string     `json:"role"` // issuer, holder, auditor or operator
	Codes     []CodeView `json:"identifyingCodes,omitempty"`
	Tax1      string     `json:"taxReference1,omitempty"`
	Tax2      string     `json:"taxReference2,omitempty"`
	Disabled  bool       `json:"disabled"`
	CreatedAt stamp      `json:"createdAt"`
	// Approvers may say yes to its orders, which wait for one of them; none: they do not.
	Approvers []string `json:"approvers,omitempty"`
}

// CodeView is an identifying code of a user, in the words of the DCSA Party.
type CodeView struct {
	Provider string `json:"codeListProvider"`
	Code     string `json:"partyCode"`
	List     string `json:"codeListName,omitempty"`
}

func viewBill(v *node.BillView) BillView {
	out := BillView{
		DocumentHash: v.Document.String(), CarrierCode: v.Reference.CarrierCode, Reference: v.Reference.Number, SubReference: v.Reference.SubReference,
		ToOrder: v.ToOrder, Status: string(v.Status), Control: string(v.Control), IssuingPlatform: v.Issuing.String(),
		Issuer: v.Issuer, Possessor: v.Possessor, Title: v.Title, ReturnedBy: v.Returned, Entries: v.Length, Steps: v.Steps, Reason: v.Reason,
		Quarantine: v.Quarantine, Verdict: v.Verdict, IssuedAt: stamp(v.Issued), ChangedAt: stamp(v.Changed),
	}
	if !v.Head.IsZero() {
		out.Head = v.Head.String()
	}
	if v.Transfer != nil {
		out.Transfer = viewTransfer(v.Transfer)
	}
	return out
}

func viewTransfer(v *node.TransferView) *TransferView {
	var history []AttemptView
	for _, a := range v.History {
		history = append(history, AttemptView{a.N, stamp(a.At), a.Answer, a.Place})
	}
	return &TransferView{
		Proposal: viewProposal(v.Proposal),
		History:  history,
		ID:       v.ID, DocumentHash: v.Document.String(), State: string(v.State), InDoubt: v.InDoubt, Instruction: v.Instruction,
		Peer: v.Peer.String(), Transferee: jsontext.Value(v.Transferee), EnvelopeHash: v.Envelope.String(), CreatedAt: stamp(v.CreatedAt),
		SentAt: stamp(v.SentAt), Attempts: v.Attempts, LastAttemptAt: stamp(v.LastAt), LastAnswer: v.LastAnswer, NextAttemptAt: stamp(v.NextAt),
		Verdict: v.Verdict, SettledBy: v.SettledBy, SettledAt: stamp(v.SettledAt),
	}
}

func viewUser(u *node.User) UserView {
	out := UserView{Local: u.Local, Name: u.Name, Role: string(u.Role), Tax1: u.Tax1, Tax2: u.Tax2, Disabled: u.Disabled, CreatedAt: stamp(u.CreatedAt), Approvers: u.Approvers}
	for _, c := range u.Codes {
		out.Codes = append(out.Codes, CodeView{c.Provider, c.Code, c.List})
	}
	return out
}

// userOf is the user that v asks for.
func userOf(v newUser) node.User {
	u := node.User{Local: v.Local, Name: v.Name, Role: node.Role(v.Role), Tax1: v.Tax1, Tax2: v.Tax2}
	for _, c := range v.Codes {
		u.Codes = append(u.Codes, identity.IdentifyingCode{Provider: c.Provider, Code: c.Code, List: c.List})
	}
	return u
}
