package keyfile

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"path/filepath"
)

// Encrypted private keys are PKCS #8 as openssl writes it, so that a key can be looked
// after without this program: EncryptedPrivateKeyInfo (RFC 5958) with PBES2 (RFC 8018),
// PBKDF2 and AES-CBC. There is no authentication in it; a key that was tampered with is
// another key and does not fit its certificate, which is looked at before it is used.

const (
	encryptedType = "ENCRYPTED PRIVATE KEY"
	// iterations is what OWASP asks for with HMAC-SHA-256; a sixth of a second.
	iterations    = 600_000
	maxIterations = 20_000_000
	saltSize      = 16
)

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidAES256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	oidSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
)

// schemes are the ciphers, by their key's length in bytes.
var schemes = map[string]int{
	"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, oidAES256.String(): 32,
}

// hashes are the functions of PBKDF2. SHA-1 is the default of the standard, which old
// programs write; as an HMAC it is not broken.
var hashes = map[string]func() hash.Hash{
	"1.2.840.113549.2.7": sha1.New, oidSHA256.String(): sha256.New,
	"1.2.840.113549.2.10": sha512.New384, "1.2.840.113549.2.11": sha512.New,
}

type encryptedKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2Params struct {
	KDF, Encryption pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

// ErrPassphrase says that a passphrase does not open a key.
var ErrPassphrase = errors.New("the passphrase does not open it, or it is damaged")

// Encrypt encrypts a private key, PKCS #8 in PEM form, under a passphrase.
func Encrypt(text, passphrase []byte) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("encrypting a private key: not PKCS #8 in PEM form")
	}
	if len(passphrase) == 0 {
		return nil, errors.New("encrypting a private key: the passphrase is empty")
	}
	random := make([]byte, saltSize+aes.BlockSize)
	_, _ = rand.Read(random) // never fails
	salt, iv := random[:saltSize], random[saltSize:]
	key, err := pbkdf2.Key(sha256.New, string(passphrase), salt, iterations, 32)
	if err != nil {
		return nil, fmt.Errorf("encrypting a private key: %w", err)
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("encrypting a private key: %w", err)
	}
	pad := aes.BlockSize - len(block.Bytes)%aes.BlockSize
	data := append(bytes.Clone(block.Bytes), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(c, iv).CryptBlocks(data, data)

	kdf, err := algorithm(oidPBKDF2, pbkdf2Params{Salt: salt, Iterations: iterations,
		PRF: pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}})
	if err != nil {
		return nil, err
	}
	scheme, err := algorithm(oidAES256, iv)
	if err != nil {
		return nil, err
	}
	both, err := algorithm(oidPBES2, pbes2Params{kdf, scheme})
	if err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(encryptedKeyInfo{both, data})
	if err != nil {
		return nil, fmt.Errorf("encrypting a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: encryptedType, Bytes: der}), nil
}

func algorithm(oid asn1.ObjectIdentifier, params any) (pkix.AlgorithmIdentifier, error) {
	der, err := asn1.Marshal(params)
	if err != nil {
		return pkix.AlgorithmIdentifier{}, fmt.Errorf("encrypting a private key: %w", err)
	}
	return pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.RawValue{FullBytes: der}}, nil
}

// isEncrypted reports whether the text is an encrypted private key.
func isEncrypted(text []byte) bool {
	block, _ := pem.Decode(text)
	return block != nil && block.Type == encryptedType
}

// decrypt opens what isEncrypted reports, and gives it as PKCS #8 in PEM form. No error
// shows any of it.
func decrypt(text, passphrase []byte) ([]byte, error) {
	block, _ := pem.Decode(text)
	var info encryptedKeyInfo
	if rest, err := asn1.Unmarshal(block.Bytes, &info); err != nil || len(rest) > 0 {
		return nil, errors.New("its DER is damaged")
	}
	if !info.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, errors.New("it is encrypted in an old way; write it again with: openssl pkcs8 -topk8 -v2 aes-256-cbc")
	}
	var p pbes2Params
	if err := params(info.Algorithm, &p); err != nil {
		return nil, err
	}
	key, err := deriveKey(p, passphrase)
	if err != nil {
		return nil, err
	}
	var iv []byte
	if err := params(p.Encryption, &iv); err != nil {
		return nil, err
	}
	// The library panics on these.
	if len(iv) != aes.BlockSize || len(info.Data) == 0 || len(info.Data)%aes.BlockSize != 0 {
		return nil, errors.New("its DER is damaged")
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	data := bytes.Clone(info.Data)
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(data, data)
	pad := int(data[len(data)-1])
	if pad == 0 || pad > aes.BlockSize || !bytes.HasSuffix(data, bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, ErrPassphrase
	}
	data = data[:len(data)-pad]
	// One wrong passphrase in 256 passes so far.
	var whole asn1.RawValue
	if rest, err := asn1.Unmarshal(data, &whole); err != nil || len(rest) > 0 {
		return nil, ErrPassphrase
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: data}), nil
}

func deriveKey(p pbes2Params, passphrase []byte) ([]byte, error) {
	size, known := schemes[p.Encryption.Algorithm.String()]
	if !known {
		return nil, errors.New("it is not encrypted with AES-CBC; write it again with: openssl pkcs8 -topk8 -v2 aes-256-cbc")
	}
	if !p.KDF.Algorithm.Equal(oidPBKDF2) {
		return nil, errors.New("its key is not derived by PBKDF2; write it again with: openssl pkcs8 -topk8 -v2 aes-256-cbc")
	}
	var k pbkdf2Params
	if err := params(p.KDF, &k); err != nil {
		return nil, err
	}
	newHash, known := hashes[k.PRF.Algorithm.String()]
	if len(k.PRF.Algorithm) == 0 {
		newHash, known = sha1.New, true
	}
	if !known {
		return nil, errors.New("its key is derived with a hash that is not SHA-1, SHA-256, SHA-384 or SHA-512")
	}
	if k.Iterations < 1 || k.Iterations > maxIterations || k.KeyLength != 0 && k.KeyLength != size || len(k.Salt) == 0 {
		return nil, errors.New("its DER is damaged")
	}
	return pbkdf2.Key(newHash, string(passphrase), k.Salt, k.Iterations, size)
}

func params(a pkix.AlgorithmIdentifier, to any) error {
	if rest, err := asn1.Unmarshal(a.Parameters.FullBytes, to); err != nil || len(rest) > 0 {
		return errors.New("its DER is damaged")
	}
	return nil
}

// IsEncrypted reports whether a private file is encrypted.
func IsEncrypted(path string) (bool, error) {
	text, err := read(path)
	return err == nil && isEncrypted(text), err
}

// AnyEncrypted reports whether a folder has an encrypted private file.
func AnyEncrypted(folder string) (bool, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.key"))
	for _, name := range names {
		if found, _ := IsEncrypted(name); found {
			return true, nil
		}
	}
	return false, err
}
