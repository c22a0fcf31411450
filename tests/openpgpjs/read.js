// OpenPGP.js for tests/dovecot/readers.rs:
//   read.js version
//   read.js decrypt SECRET-KEY MESSAGE
//   read.js verify CERTIFICATE SIGNATURE FILE
const fs = require('fs');
const openpgp = require('openpgp');

const text = (file) => fs.readFileSync(file, 'utf8');

async function decrypt(secretKey, message) {
  const { data } = await openpgp.decrypt({
    message: await openpgp.readMessage({ armoredMessage: text(message) }),
    decryptionKeys: await openpgp.readPrivateKey({ armoredKey: text(secretKey) }),
    format: 'binary',
  });
  fs.writeSync(1, data);
}

async function verify(certificate, signature, file) {
  const { signatures } = await openpgp.verify({
    message: await openpgp.createMessage({ binary: fs.readFileSync(file) }),
    signature: await openpgp.readSignature({ armoredSignature: text(signature) }),
    verificationKeys: await openpgp.readKey({ armoredKey: text(certificate) }),
  });
  await signatures[0].verified; // throws if it is bad
}

const version = () => console.log(openpgp.config.versionString);

const [what, ...files] = process.argv.slice(2);
({ version, decrypt, verify })[what](...files);
