# What stands in front takes the message as it is; a setting of flags is no storing.
# sieve_perot_encrypt_certs = ~/own
require ["vnd.perot.encrypt", "fileinto", "imap4flags"];
fileinto "in clear";
addflag "\\Flagged";
encrypt;
keep;
