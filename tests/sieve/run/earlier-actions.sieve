# What stands in front takes the message as it is; a setting of flags is no storing.
require ["vnd.perot.encrypt", "fileinto", "imap4flags"];
fileinto "in clear";
addflag "\\Flagged";
encrypt;
keep;
