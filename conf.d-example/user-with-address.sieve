# Encrypts mail to one address, and files it. Put `encrypt` in front of what stores the message.
#
# The certificate of me@domain.com must be in one of the places that sieve_perot_encrypt_certs names.
# If there is no such mailbox, the encrypted message goes to the INBOX. How the name of the mailbox is written
# depends on the server: "INBOX.encrypted", "INBOX/encrypted" or "encrypted".

require ["vnd.perot.encrypt", "fileinto"];
if address :matches "To" "me@domain.com" {
    encrypt "me@domain.com";
    fileinto "INBOX.encrypted";
    stop;
}
