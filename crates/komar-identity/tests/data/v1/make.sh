#!/bin/sh
# Makes the certificates of this folder with OpenSSL 3.0 (newer ones make version 3 where version 1 is meant).
# Run in an empty folder that holds only this script. Nothing here is secret.
set -eu
days=36500
cat > ca.cnf <<'EOF'
[req]
distinguished_name = name
prompt = no
[name]
CN = replaced by -subj
[v3_ca]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer
basicConstraints = critical,CA:true
[v3_sub]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
[v3_short]
basicConstraints = critical,CA:true,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
[v3_client]
basicConstraints = CA:false
extendedKeyUsage = clientAuth
[v3_server]
basicConstraints = CA:false
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost,IP:127.0.0.1
[encipher]
keyUsage = critical,keyEncipherment
[sign-lists]
keyUsage = critical,cRLSign
[ns-server]
nsCertType = server
[ns-both]
nsCertType = server,client
[agree]
keyUsage = critical,keyAgreement
nsCertType = client
[sign]
keyUsage = critical,digitalSignature,keyEncipherment
[listed-ca]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[constrained]
basicConstraints = critical,CA:true
nameConstraints = critical,permitted;DNS:LATIN_1
[users]
issuingDistributionPoint = critical,@users_scope
[users_scope]
onlyuser = TRUE
[ca]
default_ca = here
[here]
dir = work
database = work/index.txt
serial = work/serial
crlnumber = work/crlnumber
new_certs_dir = work
default_md = sha256
default_days = 36500
policy = any
certificate = ca.crt
private_key = ca.key
[here_v1_list]
dir = work
database = work/index.txt
default_md = sha256
certificate = ca.crt
private_key = ca.key
[any]
countryName = optional
organizationName = optional
commonName = supplied
EOF
mkdir work
: > work/index.txt
echo 1000 > work/serial
echo 01 > work/crlnumber
rsa() { openssl genrsa -out "$1.key" "${2:-2048}" 2>/dev/null; }
ec() { openssl ecparam -name "${2:-prime256v1}" -genkey -noout -out "$1.key"; }
root() { openssl req -config ca.cnf -new -x509 -days $days -extensions "${3:-v3_ca}" -key "$1.key" -subj "$2" -out "$1.crt"; }
request() { openssl req -config ca.cnf -new -key "$1.key" -subj "${2:-/C=SK/O=Example/CN=$1}" -out "work/$1.csr"; }
# The command of the tutorials; without an extension file the result is version 1.
sign() { n=$1 ca=$2; shift 2
  openssl x509 -req -in "work/$n.csr" -CA "$ca.crt" -CAkey "$ca.key" -CAcreateserial -CAserial work/ca.srl \
    -days $days -out "$n.crt" "$@" 2>/dev/null; }
# Dates of its own; version 1 unless extensions are asked for.
dated() { n=$1 from=$2 to=$3; shift 3
  openssl ca -batch -notext -config ca.cnf -in "work/$n.csr" -startdate "$from" -enddate "$to" -out "$n.crt" "$@" 2>/dev/null; }

# Authorities
name=/C=SK/O=Example/CN=Example_CA
rsa ca; root ca $name
rsa same-name; root same-name $name
ec ca-ec; root ca-ec /O=Example/CN=Example_EC_CA
rsa unrelated; root unrelated /CN=Unrelated_CA
ec short; root short /CN=Short_CA v3_short

# Brokers
rsa broker; request broker /CN=localhost; sign broker ca
openssl rsa -in broker.key -traditional -out broker-pkcs1.key 2>/dev/null
openssl pkcs8 -topk8 -v2 aes-256-cbc -passout pass:secret -in broker.key -out broker-encrypted.key
openssl rsa -aes128 -traditional -passout pass:secret -in broker.key -out broker-encrypted-pkcs1.key 2>/dev/null
ec broker-ec; request broker-ec /CN=localhost; sign broker-ec ca
openssl pkcs8 -topk8 -nocrypt -in broker-ec.key -out broker-ec-pkcs8.key
openssl genpkey -algorithm ed25519 -out broker-ed25519.key; request broker-ed25519 /CN=localhost; sign broker-ed25519 ca
rsa broker3; request broker3 /CN=localhost; sign broker3 ca -extfile ca.cnf -extensions v3_server

# Clients of version 1
rsa myPLC; request myPLC; sign myPLC ca
ec myD2000; request myD2000; sign myD2000 ca
ec p384 secp384r1; request p384; sign p384 ca
openssl genpkey -algorithm ed25519 -out ed25519.key; request ed25519; sign ed25519 ca
ec of-ec; request of-ec; sign of-ec ca-ec
ec of-same-name; request of-same-name; sign of-same-name same-name
ec of-unrelated; request of-unrelated; sign of-unrelated unrelated
ec p521 secp521r1; request p521; sign p521 ca
rsa rsa1024 1024; request rsa1024; sign rsa1024 ca
ec sha1; request sha1; sign sha1 ca -sha1
ec md5; request md5; sign md5 ca -md5
ec expired; request expired; dated expired 20270101000000Z 20280101000000Z
ec future; request future; dated future 20900101000000Z 21000101000000Z

# Clients of version 3
ec client3; request client3; sign client3 ca -extfile ca.cnf -extensions v3_client
ec wrong-purpose; request wrong-purpose; sign wrong-purpose ca -extfile ca.cnf -extensions v3_server
ec marked-ca; request marked-ca; sign marked-ca ca -extfile ca.cnf -extensions v3_ca
ec self-signed; root self-signed /CN=self-signed v3_client

# Clients of version 3 by what their keys and they are for
ec ca-uses; root ca-uses /CN=Uses_CA
for use in encipher sign-lists ns-server ns-both agree sign; do
  ec $use; request $use; sign $use ca-uses -extfile ca.cnf -extensions $use
done
ec listed-ca; root listed-ca /CN=listed listed-ca

# An authority that may vouch for a host name in Latin-1, and a client of another name
umlaut=$(printf '\344'); LC_ALL=C sed -i "s/LATIN_1/pl${umlaut}nt.example/" ca.cnf
ec ca-latin1; root ca-latin1 /CN=Latin_1_CA constrained
ec of-latin1; request of-latin1 /CN=a.other.example; sign of-latin1 ca-latin1 -extfile ca.cnf -extensions v3_client

# Intermediates: a real one, one of version 1, and one that its root's path length forbids
ec sub; request sub; sign sub ca -extfile ca.cnf -extensions v3_sub
ec of-sub; request of-sub; sign of-sub sub
ec of-sub3; request of-sub3; sign of-sub3 sub -extfile ca.cnf -extensions v3_client
ec sub-v1; request sub-v1; sign sub-v1 ca
ec of-sub-v1; request of-sub-v1; sign of-sub-v1 sub-v1
ec of-sub-v1-3; request of-sub-v1-3; sign of-sub-v1-3 sub-v1 -extfile ca.cnf -extensions v3_client
ec sub-short; request sub-short; sign sub-short short -extfile ca.cnf -extensions v3_sub
ec of-short; request of-short; sign of-short sub-short -extfile ca.cnf -extensions v3_client

# No moment lies in the dates of both the client and its intermediate.
ec eras; root eras /CN=Eras_CA
ec era; request era; dated era 20290101000000Z 21200101000000Z -cert eras.crt -keyfile eras.key -extensions v3_sub
ec of-era; request of-era; dated of-era 20120820000000Z 20120821000000Z -cert era.crt -keyfile era.key -extensions v3_client

# Revocation: an empty list, then revoked.crt and revoked3.crt in the next one
list() { f=$1; shift; openssl ca -config ca.cnf -gencrl -out "$f" "$@" 2>/dev/null; }
ec revoked; request revoked; sign revoked ca
ec revoked3; request revoked3; sign revoked3 ca -extfile ca.cnf -extensions v3_client
list crl-empty.pem -crl_lastupdate 20270101000000Z -crl_nextupdate 21200101000000Z
openssl ca -config ca.cnf -revoke revoked.crt 2>/dev/null
openssl ca -config ca.cnf -revoke revoked3.crt 2>/dev/null
list crl.pem -crl_lastupdate 20270201000000Z -crl_nextupdate 21200101000000Z
list crl-expired.pem -crl_lastupdate 20270115000000Z -crl_nextupdate 20280101000000Z
openssl ca -config ca.cnf -name here_v1_list -gencrl -out crl-v1.pem -crl_lastupdate 20270201000000Z \
  -crl_nextupdate 21200101000000Z 2>/dev/null
openssl ca -config ca.cnf -gencrl -cert same-name.crt -keyfile same-name.key -out crl-same-name.pem \
  -crl_lastupdate 20270301000000Z -crl_nextupdate 21200101000000Z 2>/dev/null
# A list of user certificates only, where one client is marked as an authority
ec ca-users; root ca-users /CN=Users_CA
ec user; request user; sign user ca-users -extfile ca.cnf -extensions v3_client
ec user-ca; request user-ca; sign user-ca ca-users -extfile ca.cnf -extensions v3_ca
openssl ca -config ca.cnf -gencrl -cert ca-users.crt -keyfile ca-users.key -crlexts users -out crl-users.pem \
  -crl_lastupdate 20270301000000Z -crl_nextupdate 21200101000000Z 2>/dev/null
# The tests need the keys of brokers and clients only.
rm -r work ca.cnf ca.key same-name.key ca-ec.key unrelated.key short.key sub.key sub-v1.key sub-short.key \
  eras.key era.key ca-uses.key ca-latin1.key ca-users.key
